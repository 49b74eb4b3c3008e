/*
 * The check of pool objects.
 *
 * The bytes are taken as chunks of HASH_CHUNK, of which the last is the last
 * HASH_CHUNK bytes and may overlap the one before; fewer bytes are filled up with
 * zeros. Chunks consist of pairs of 64-bit words, m0 and m1, and to each pair of
 * words belong two of the key, k0 and k1. Then
 *
 *      S = sum of (m0 + k0) * (m1 + k1)      over GF(2)[x], 127 bits
 *      check = the upper half of  f0 + f1 s0 + f2 s1 + f3 s2 + f4 s3 + f5 size
 *
 * with the 32-bit words s0 to s3 of S and 64-bit words f of the key, modulo 2^64.
 *
 * Strength. Of two objects of one size that differ, S is the same with probability at
 * most 2^-64: some word differs, say an m0; whatever the other words of the key are, the
 * difference of the sums is (m0 - m0') * k1 + something that does not depend on k1, and
 * multiplying by what is not 0 is one to one, so at most one k1 of 2^64 makes it 0
 * (NH, Black et al. 1999, theorem 4.2; over GF(2)[x]: Lemire and Kaser, "Faster
 * 64-bit universal hashing using carry-less multiplications", 2016). The second step
 * is strongly universal: S or sizes that differ meet with probability 2^-32 (Carter and
 * Wegman 1979; for halves of 64 bits Lemire and Kaser, "Strongly universal string
 * hashing is fast", 2014). Together 2^-32 + 2^-64.
 *
 * The vector registers. PCLMULQDQ needs them, in the hypervisor they hold what the
 * loaded vCPU left there, and the compiler is told not to use them. So one piece of
 * assembly saves the two it uses and gives them back: in legacy SSE encoding, which
 * leaves all above bit 127 alone, needs nothing in XCR0, and neither reads nor changes
 * MXCSR. CR4.OSFXSR is set and CR0.TS clear on every CPU (hv/cpu.c). The sum leaves
 * in general registers, so that nothing made from the key stays in memory.
 */
#include "lib/assert.h"
#include "lib/cache.h"
#include "lib/string.h"
#include "mm/hash.h"
#include "mm/hash_key.h"

#define CPUID_1_ECX_PCLMULQDQ (1u << 1)
#define HASH_CHUNK            128u

struct sum {
    uint64_t low, high;
};

static bool have_multiplier; /* PCLMULQDQ; written once at boot */

void hash_bytes_choose(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    have_multiplier = (c & CPUID_1_ECX_PCLMULQDQ) != 0;
}

/* ---- without PCLMULQDQ ------------------------------------------------------- */

/*
 * The low half of a carry-less product by multiplications with carries: of each
 * factor four parts are made, each with every fourth bit, so that the at most
 * 15 ones that meet in a column below the highest do not reach the next one that counts.
 */
static uint64_t multiply_low(uint64_t a, uint64_t b)
{
    const uint64_t every_fourth = 0x1111111111111111ull;
    uint64_t product = 0;
    for (unsigned part = 0; part < 4; part++) {
        uint64_t column = 0;
        for (unsigned i = 0; i < 4; i++)
            column ^= (a & every_fourth << i) * (b & every_fourth << ((part - i) & 3));
        product |= column & every_fourth << part;
    }
    return product;
}

static uint64_t reverse(uint64_t v)
{
    v = (v >> 1 & 0x5555555555555555ull) | (v & 0x5555555555555555ull) << 1;
    v = (v >> 2 & 0x3333333333333333ull) | (v & 0x3333333333333333ull) << 2;
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0full) | (v & 0x0f0f0f0f0f0f0f0full) << 4;
    return __builtin_bswap64(v);
}

static void sum_chunk_plain(struct sum *sum, const uint8_t *chunk, const uint64_t *key)
{
    for (unsigned word = 0; word < HASH_CHUNK / 8; word += 2) {
        uint64_t m[2];
        __builtin_memcpy(m, chunk + 8 * word, sizeof(m));
        m[0] ^= key[word];
        m[1] ^= key[word + 1];
        sum->low ^= multiply_low(m[0], m[1]);
        /* The high half is the low one of what is read from the other end. */
        sum->high ^= reverse(multiply_low(reverse(m[0]), reverse(m[1]))) >> 1;
    }
}

/* At least HASH_CHUNK bytes. */
static struct sum sum_plain(const uint8_t *bytes, uint32_t size)
{
    struct sum sum = { 0, 0 };
    uint32_t before = (size - 1) / HASH_CHUNK * HASH_CHUNK;
    for (uint32_t at = 0; at < before; at += HASH_CHUNK)
        sum_chunk_plain(&sum, bytes + at, &hash_key.words[at / 8]);
    sum_chunk_plain(&sum, bytes + size - HASH_CHUNK, &hash_key.words[before / 8]);
    return sum;
}

/* ---- with ---------------------------------------------------------------------- */

/* Each pair of words of a chunk at `bytes`, with the key at `key`, added to XMM1. */
#define SUM_CHUNK(bytes, key)                                                                      \
    ".set pair_, 0\n\t"                                                                            \
    ".rept 8\n\t"                                                                                  \
    "movdqu pair_" bytes ", %%xmm0\n\t"                                                            \
    "pxor pair_" key ", %%xmm0\n\t"                                                                \
    "pclmulqdq $0x10, %%xmm0, %%xmm0\n\t"                                                          \
    "pxor %%xmm0, %%xmm1\n\t"                                                                      \
    ".set pair_, pair_ + 16\n\t"                                                                   \
    ".endr\n\t"

/* At least HASH_CHUNK bytes. */
static inline struct sum sum_fast(const uint8_t *bytes, uint32_t size)
{
    uint8_t saved[32];
    struct sum sum;
    uint64_t before = (size - 1) / HASH_CHUNK * HASH_CHUNK, at = 0 - before;
    __asm__ volatile(
        "movups %%xmm0, (%[saved])\n\t"
        "movups %%xmm1, 16(%[saved])\n\t"
        "pxor %%xmm1, %%xmm1\n\t"
        "testq %[at], %[at]\n\t"
        "jz 2f\n"
        "1:\n\t" SUM_CHUNK("(%[bytes], %[at])",
                           "(%[key], %[at])") "addq %[chunk], %[at]\n\t"
                                              "jnz 1b\n"
                                              "2:\n\t" SUM_CHUNK(
                                                  "(%[last])",
                                                  "(%[key])") "movq %%xmm1, %[low]\n\t"
                                                              "psrldq $8, %%xmm1\n\t"
                                                              "movq %%xmm1, %[high]\n\t"
                                                              "movups (%[saved]), %%xmm0\n\t"
                                                              "movups 16(%[saved]), %%xmm1"
        : [low] "=&r"(sum.low), [high] "=&r"(sum.high), [at] "+&r"(at)
        : [saved] "r"(saved), [bytes] "r"(bytes + before),
          [key] "r"((const uint8_t *)hash_key.words + before),
          [last] "r"(bytes + size - HASH_CHUNK), [chunk] "r"((uint64_t)HASH_CHUNK)
        : "memory", "cc");
    return sum;
}

/* ---- both ---------------------------------------------------------------------- */

static inline uint32_t finish(struct sum sum, uint32_t size)
{
    const uint64_t *f = hash_key.check;
    uint64_t v = f[0] + f[1] * (uint32_t)sum.low + f[2] * (sum.low >> 32) +
                 f[3] * (uint32_t)sum.high + f[4] * (sum.high >> 32) + f[5] * size;
    return (uint32_t)(v >> 32);
}

/* Filled up with zeros; how many there were is in the second step. */
static __attribute__((noinline)) uint32_t
check_few(const void *bytes, uint32_t size, struct sum (*sum)(const uint8_t *bytes, uint32_t size))
{
    uint8_t chunk[HASH_CHUNK];
    memset(chunk, 0, sizeof(chunk));
    memcpy(chunk, bytes, size);
    return finish(sum(chunk, HASH_CHUNK), size);
}

__attribute__((noinline)) uint32_t hash_bytes_plain(const void *bytes, uint32_t size)
{
    ensure(size <= PAGE_SIZE);
    return size < HASH_CHUNK ? check_few(bytes, size, sum_plain)
                             : finish(sum_plain(bytes, size), size);
}

uint32_t hash_bytes(const void *bytes, uint32_t size)
{
    ensure(size <= PAGE_SIZE);
    if (!have_multiplier)
        return hash_bytes_plain(bytes, size);
    return size < HASH_CHUNK ? check_few(bytes, size, sum_fast)
                             : finish(sum_fast(bytes, size), size);
}

void hash_bytes_forget(uint32_t size)
{
    cache_evict(hash_key.words, size);
    cache_evict_line(hash_key.check);
}
