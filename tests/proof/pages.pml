/*
 * The states of guest pages, with cached translations and concurrent faults; for
 * Spin, which tries every order of steps.
 *
 * One VM of two pages on two CPUs, one using both, the other one of them; a third
 * CPU that reclaims; three frames. CPUs read and write through translations they
 * keep until they flush; a flush kicks the CPUs inside the guest and waits for each
 * (a CPU outside has acknowledged, and compares before it lets the guest go on).
 * Checked at every access of a guest:
 *
 *   P1  the frame is the page's own, or a merged one
 *   P2  no write lands in a merged frame
 *   P3  a frame that is free or another's is not reached through an old translation
 *   P5  what is read is what was written last
 *
 * and that the three never wait for one another for ever. READER (the other CPU only
 * reads) and ONE_PAGE (only one page is used) are instances small enough to be searched
 * as a whole. What is left out: the bits of entries, tables, the content's bytes.
 *
 * BUG_... plants a fault; tests/proof/run_proof.py plants each and expects Spin
 * to find a violation. Without any, there must be none.
 */
#define CPUS   2
#define PAGES  2
#define FRAMES 3
#define NO     7 /* no frame, no translation */
#define POISON 2 /* content of free frames; guests write 0 and 1 */

/* Homes */
#define ZERO    0
#define PRIVATE 1
#define SHARED  2
#define STORED  3 /* pool or swap */
#define BUSY    4
#define BALLOON 5
/* Kinds of frames; PRIVATE and SHARED as above */
#define FREE 0

byte home[PAGES], leaf[PAGES], stored[PAGES], shadow[PAGES];
bit writable[PAGES], given[PAGES];
byte kind[FRAMES], owner[FRAMES], sharers[FRAMES], content[FRAMES];
byte cached[4]; /* [cpu * PAGES + page]: frame */
bit cached_write[4];
bit root[CPUS], flush_due[CPUS];
bit locked; /* the leaf table's lock */

#ifdef BUG_NO_LOCK
#define lock() skip
#define unlock() skip
#else
#define lock() atomic { !locked -> locked = 1 }
#define unlock() locked = 0
#endif

inline forget(cpu)
{
    d_step {
        cached[cpu * PAGES] = NO;
        cached[cpu * PAGES + 1] = NO;
        cached_write[cpu * PAGES] = 0;
        cached_write[cpu * PAGES + 1] = 0;
        flush_due[cpu] = 0;
    }
}

/* Every CPU that may cache has dropped it, or will before its guest goes on. */
inline flush(me)
{
#ifdef BUG_NO_KICK
    /* Only the CPU that asks. */
    if
    :: me < CPUS -> flush_due[me] = 1
    :: else -> skip
    fi;
#else
    d_step {
        flush_due[0] = 1;
        flush_due[1] = 1;
#ifdef BUG_NOT_THIS_CPU
        if
        :: me < CPUS -> flush_due[me] = 0
        :: else -> skip
        fi;
#endif
    }
#endif
#ifndef BUG_NO_ACKNOWLEDGE
    root[0] || !flush_due[0];
    root[1] || !flush_due[1];
#endif
}

inline take(f)
{
    d_step {
        f = NO;
        if
        :: kind[0] == FREE -> f = 0
        :: else ->
            if
            :: kind[1] == FREE -> f = 1
            :: else ->
                if
                :: kind[2] == FREE -> f = 2
                :: else -> skip
                fi
            fi
        fi;
        if
        :: f != NO -> kind[f] = PRIVATE; owner[f] = NO
        :: else -> skip
        fi
    }
}

inline give(f)
{
    d_step {
        assert(kind[f] != FREE);
        kind[f] = FREE;
        owner[f] = NO;
        sharers[f] = 0;
        content[f] = POISON;
    }
}

inline point(p, h, f, w)
{
    d_step {
        home[p] = h;
        leaf[p] = f;
        writable[p] = w;
        if
        :: h == PRIVATE && f != NO -> owner[f] = p
        :: else -> skip
        fi
    }
}

/* One sharer less; the last one frees the frame. */
inline drop(f)
{
    d_step {
        assert(kind[f] == SHARED && sharers[f] > 0);
        sharers[f] = sharers[f] - 1;
    }
    if
    :: sharers[f] == 0 -> give(f)
    :: else -> skip
    fi
}

/* ---- a guest's access through what its CPU has cached -------------------------- */

inline check(p, f)
{
    assert(f != NO && kind[f] != FREE); /* P3 */
    assert((kind[f] == PRIVATE && owner[f] == p) || kind[f] == SHARED); /* P1 */
    assert(given[p] || content[f] == shadow[p]); /* P5 */
}

proctype cpu(byte me)
{
    byte p, f, old;
    bit write;
next:
    do
    ::  atomic { flush_due[me] -> forget(me) } /* the kick arrives */
    ::  atomic {
            if
            :: p = 0
#ifndef ONE_PAGE
            :: me == 0 -> p = 1
#endif
            fi;
            if
            :: write = 0
#ifdef READER
            :: me == 0 -> write = 1
#else
            :: write = 1
#endif
            fi;
            f = cached[me * PAGES + p];
            if
            ::  f != NO && (!write || cached_write[me * PAGES + p]) ->
                check(p, f);
                if
                ::  write ->
                    assert(kind[f] == PRIVATE); /* P2 */
                    shadow[p] = 1 - shadow[p];
                    content[f] = shadow[p]
                :: else -> skip
                fi;
                p = 0; write = 0; f = 0;
                goto next
            ::  else ->
                f = NO;
                if
                ::  (home[p] == PRIVATE || home[p] == SHARED) && (!write || writable[p]) ->
                    cached[me * PAGES + p] = leaf[p];
                    cached_write[me * PAGES + p] = writable[p];
                    p = 0; write = 0; f = 0;
                    goto next
                :: else -> skip
                fi;
                cached[me * PAGES + p] = NO; /* a violation drops the translation */
                cached_write[me * PAGES + p] = 0;
                root[me] = 1
            fi
        }
        /* The nested fault. What no other process can see in between is one step. */
        atomic {
            lock();
            if
            ::  home[p] == ZERO || home[p] == BALLOON ->
                take(f);
                if
                ::  f != NO ->
#ifndef BUG_RESIDUE
                    content[f] = 0;
#endif
                    point(p, PRIVATE, f, 1)
                :: else -> skip
                fi
            ::  home[p] == STORED ->
                take(f);
                if
                ::  f != NO ->
#ifdef BUG_MAPPED_TOO_EARLY
                    point(p, PRIVATE, f, 1);
                    goto load
#else
                    content[f] = stored[p];
                    stored[p] = 0;
                    point(p, PRIVATE, f, 1)
#endif
                :: else -> skip
                fi
            ::  home[p] == PRIVATE -> writable[p] = 1
            ::  home[p] == SHARED && !write -> skip
            ::  home[p] == SHARED && write ->
                old = leaf[p];
                if
#ifdef BUG_TAKE_BACK_OF_TWO
                ::  sharers[old] <= 2 ->
#else
                ::  sharers[old] == 1 ->
#endif
                    kind[old] = PRIVATE;
                    sharers[old] = 0;
                    point(p, PRIVATE, old, 1);
                    goto taken_back
                ::  else ->
#ifdef BUG_COW_SKIPPED
                    writable[p] = 1;
#else
                    take(f);
                    if
                    ::  f != NO ->
                        content[f] = content[old];
                        point(p, PRIVATE, f, 1);
                        goto copied
                    :: else -> skip
                    fi
#endif
                fi
            ::  home[p] == BUSY -> skip /* waits, tries again */
            fi;
            goto leave
        }
#ifdef BUG_MAPPED_TOO_EARLY
load:   content[f] = stored[p];
        goto leave;
#endif
taken_back:
        flush(me);
        goto leave;
copied:
#ifndef BUG_COW_NO_FLUSH
        flush(me);
#endif
        atomic { drop(old) };
leave:
        unlock();
#ifdef BUG_ENTRY_CHECKS_FIRST
        if
        :: flush_due[me] -> forget(me)
        :: else -> skip
        fi;
        root[me] = 0;
#else
        root[me] = 0;
        atomic {
            if
            :: flush_due[me] -> forget(me)
            :: else -> skip
            fi;
            p = 0; write = 0; f = 0; old = 0
        }
#endif
    od
}

/* ---- the third CPU ----------------------------------------------------------------- */

active proctype reclaim()
{
    byte p, f, other, merged, value;
    root[0] = 0;
    d_step {
        f = 0;
        do
        :: f < FRAMES -> content[f] = POISON; owner[f] = NO; f++
        :: else -> break
        od;
        leaf[0] = NO; leaf[1] = NO;
        cached[0] = NO; cached[1] = NO; cached[2] = NO; cached[3] = NO;
    }
    atomic { run cpu(0); run cpu(1); p = 0; f = 0 }
next:
    do
    ::  atomic {
            !locked;
            f = NO; merged = NO; value = 0;
            if
            :: p = 0
#ifndef ONE_PAGE
            :: p = 1
#endif
            fi;
            other = 1 - p;
            lock();
            if
            ::  home[p] == PRIVATE -> goto out
            ::  home[p] == SHARED -> goto shared_out
            ::  home[p] == PRIVATE && home[other] == PRIVATE -> goto merge
            ::  home[p] == PRIVATE && home[other] == SHARED -> goto join
            ::  home[p] != BUSY && home[p] != BALLOON -> goto give_up
            ::  else -> unlock(); goto reset
            fi
        }
        /* Page out: BUSY, flush, read, then stored or back. */
out:    atomic {
            f = leaf[p];
#ifdef BUG_OUT_READ_BEFORE_FLUSH
            value = content[f];
#endif
            point(p, BUSY, NO, 0);
            unlock()
        }
#ifndef BUG_OUT_NO_FLUSH
        flush(CPUS);
#endif
#ifndef BUG_OUT_READ_BEFORE_FLUSH
        value = content[f];
#endif
        atomic {
            lock();
            if
            ::  stored[p] = value;
                point(p, STORED, NO, 0);
                give(f)
            ::  point(p, PRIVATE, f, 1) /* the write failed */
            fi;
            goto done
        }
shared_out:
        atomic {
            f = leaf[p];
            stored[p] = content[f];
            point(p, STORED, NO, 0)
        }
#ifndef BUG_SHARED_OUT_NO_FLUSH
        flush(CPUS);
#endif
        atomic { drop(f); goto done }
        /* Merge two private pages. */
merge:  atomic {
            take(merged);
            if
            :: merged == NO -> goto done
            :: else -> skip
            fi;
#ifndef BUG_MERGE_NOT_PROTECTED
            writable[0] = 0;
            writable[1] = 0
#endif
        }
#ifndef BUG_MERGE_NOT_PROTECTED
#ifndef BUG_MERGE_COMPARE_BEFORE_FLUSH
        flush(CPUS);
#endif
#endif
        if
        ::  content[leaf[0]] == content[leaf[1]] -> skip
        ::  else ->
            atomic {
                writable[0] = 1;
                writable[1] = 1;
                give(merged);
                goto done
            }
        fi;
#ifdef BUG_MERGE_COMPARE_BEFORE_FLUSH
        flush(CPUS);
#endif
        d_step {
            content[merged] = content[leaf[0]];
            kind[merged] = SHARED;
            owner[merged] = NO;
#ifdef BUG_ONE_SHARER_TOO_FEW
            sharers[merged] = 1;
#else
            sharers[merged] = 2;
#endif
            f = leaf[p];
            value = leaf[other]
        }
        atomic {
            point(p, SHARED, merged, 0);
            point(other, SHARED, merged, 0)
        };
#ifdef BUG_MERGE_FREED_BEFORE_FLUSH
        give(f);
        give(value);
        flush(CPUS);
        goto done;
#else
        flush(CPUS);
        atomic { give(f); give(value); goto done }
#endif
        /* One joins a merged frame, which is held while it is compared. */
join:   atomic {
            merged = leaf[other];
            sharers[merged] = sharers[merged] + 1;
            writable[p] = 0
        }
        flush(CPUS);
        if
        ::  content[leaf[p]] == content[merged] ->
            atomic {
                f = leaf[p];
                point(p, SHARED, merged, 0)
            }
            flush(CPUS);
            atomic { give(f); goto done }
        ::  else ->
            atomic {
                writable[p] = 1;
                drop(merged);
                goto done
            }
        fi;
        /* The guest gives a page up: from here on it may show anything of its own. */
give_up:
        atomic {
            given[p] = 1;
            f = leaf[p];
            value = home[p];
            point(p, BALLOON, NO, 0)
        }
#ifndef BUG_GIVE_UP_NO_FLUSH
        if
        :: f != NO -> flush(CPUS)
        :: else -> skip
        fi;
#endif
        atomic {
            if
            :: value == PRIVATE -> give(f)
            :: value == SHARED -> drop(f)
            :: else -> skip
            fi;
            shadow[p] = 0;
            given[p] = 0
        }
done:   atomic {
            unlock();
reset:      p = 0; other = 0; f = 0; merged = 0; value = 0
        }
    od
}
