/*
 * No nonce twice under one key: every (key, nonce) that anything is sealed with is
 * kept, over writes that fail and are repeated, slots used again and again, slots
 * near the end of their generations, and boots.
 */
#include "tests/host/swap_rig.h"

#include "mm/aead.h"

#define PLACES (1u << 20)

static struct sealed {
    uint64_t key, nonce;
} * sealed;
static uint32_t sealed_count, highest_generation;

static uint64_t name_of(const struct aead_key *key)
{
    uint64_t name = 1;
    for (unsigned i = 0; i < 8; i++)
        name = (name ^ key->words[i]) * 0x9e3779b97f4a7c15ull;
    return name | 1;
}

void __real_aead_seal(const struct aead_key *key, uint64_t nonce, const void *extra,
                      size_t extra_size, const void *plain, void *cipher, size_t size,
                      uint8_t tag[AEAD_TAG_BYTES]);
void __wrap_aead_seal(const struct aead_key *key, uint64_t nonce, const void *extra,
                      size_t extra_size, const void *plain, void *cipher, size_t size,
                      uint8_t tag[AEAD_TAG_BYTES]);
void __wrap_aead_seal(const struct aead_key *key, uint64_t nonce, const void *extra,
                      size_t extra_size, const void *plain, void *cipher, size_t size,
                      uint8_t tag[AEAD_TAG_BYTES])
{
    struct sealed one = { name_of(key), nonce };
    uint64_t at = (one.key ^ nonce * 0x9e3779b97f4a7c15ull) >> 13;
    for (;; at++) {
        struct sealed *place = &sealed[at % PLACES];
        if (place->key == 0) {
            *place = one;
            break;
        }
        if (place->key == one.key && place->nonce == nonce)
            fail_msg("nonce %#llx is used twice under one key", (unsigned long long)nonce);
    }
    assert_true(++sealed_count < PLACES / 2);
    if ((uint32_t)nonce > highest_generation)
        highest_generation = (uint32_t)nonce;
    __real_aead_seal(key, nonce, extra, extra_size, plain, cipher, size, tag);
}

/* Slots that are free now come to the end of their generations soon. */
static void age_free_slots(void)
{
    for (swap_slot_t slot = { 0 }; slot.v < swap.slots.made; slot.v++) {
        struct swap_extent extent;
        uint32_t generation;
        struct swap_slot_entry *entry = swap_slots_entry(&swap.slots, slot);
        if (!swap_slots_look(&swap.slots, slot, &extent, &generation) &&
            entry->generation < UINT32_MAX - 8 && rng_below(&rng, 3) == 0)
            entry->generation = UINT32_MAX - 4;
    }
}

static void operate(uint64_t steps)
{
    for (uint64_t step = 0; step < steps; step++) {
        struct object *o = any_in(rng_below(&rng, 5) < 3 ? ABSENT : STORED);
        if (o && o->state == ABSENT) {
            if (write_sized(o, (uint16_t)(1 + rng_below(&rng, 600)), true) != SWAP_OK)
                disk_complete_all();
        } else if (o) {
            drop(o);
        }
        if (rng_below(&rng, 8) == 0)
            swap_write_flush();
        if (rng_below(&rng, 3) == 0)
            disk_complete_one();
        if (step % 300 == 250)
            age_free_slots();
    }
    swap_write_flush();
    disk_complete_all();
}

static void no_nonce_twice(void **state)
{
    uint64_t boots = 4, steps = support_number("BALLAST_STEPS", 30000), retired = 0;
    (void)state;
    sealed = calloc(PLACES, sizeof(*sealed));
    for (uint64_t boot = 0; boot < boots; boot++) {
        if (boot > 0) {
            swap_init();
            assert_int_equal(open_area(), SWAP_OPEN_OK);
        }
        expect_trouble = true;
        faults.write_error = boot % 2 ? 30 : 0;
        operate(steps);
        retired += swap.slots.retired;
        finish_all();
        assert_true(boot % 2 == 0 || stats().write_errors > 0);
    }
    printf("figure: swap: %u pages sealed under %llu keys, no nonce twice; %llu slots retired at "
           "the end of their generations\n",
           sealed_count, (unsigned long long)boots, (unsigned long long)retired);
    assert_true(sealed_count > 10000 && retired > 10);
    assert_int_equal(highest_generation, UINT32_MAX);
    free(sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { OPEN(no_nonce_twice) };
    return cmocka_run_group_tests_name("nonces", tests, NULL, NULL);
}
