#include "hv/virtq.h"
#include "hv/vm.h"
#include "lib/string.h"

#define DESC_BYTES   16u
#define AVAIL_FLAGS  0u
#define AVAIL_INDEX  2u
#define AVAIL_RING   4u
#define USED_INDEX   2u
#define USED_RING    4u
#define USED_ELEMENT 8u
/* Rings end with the field of the event index, used or not. */
#define AVAIL_BYTES(n) (6u + 2u * (n))
#define USED_BYTES(n)  (6u + 8u * (n))

void virtq_reset(struct virtq *queue)
{
    *queue = (struct virtq){ 0 };
}

static bool in_memory(const struct vm *vm, uint64_t address, uint64_t size)
{
    uint64_t memory = (uint64_t)mm_vm_pages(vm->mm) << PAGE_SHIFT;
    return address < memory && size <= memory - address;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

const char *virtq_check(const struct vm *vm, const struct virtq *queue)
{
    uint64_t n = queue->size;
    if (!n || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
        return "queue size is 0, too large or no power of two";
    if (queue->desc & 15 || queue->avail & 1 || queue->used & 3)
        return "queue misaligned";
    if (!in_memory(vm, queue->desc, DESC_BYTES * n) ||
        !in_memory(vm, queue->avail, AVAIL_BYTES(n)) || !in_memory(vm, queue->used, USED_BYTES(n)))
        return "queue outside of memory";
    if (overlap(queue->desc, DESC_BYTES * n, queue->used, USED_BYTES(n)) ||
        overlap(queue->avail, AVAIL_BYTES(n), queue->used, USED_BYTES(n)) ||
        overlap(queue->desc, DESC_BYTES * n, queue->avail, AVAIL_BYTES(n)))
        return "parts of the queue overlap";
    return NULL;
}

static bool covers(uint64_t address, uint64_t size, gfn_t page)
{
    return overlap(address, size, gfn_to_gpa(page).v, PAGE_SIZE);
}

bool virtq_uses(const struct virtq *queue, gfn_t page)
{
    return queue->ready && (covers(queue->desc, DESC_BYTES * queue->size, page) ||
                            covers(queue->avail, AVAIL_BYTES(queue->size), page) ||
                            covers(queue->used, USED_BYTES(queue->size), page));
}

/* ---- guest memory ----------------------------------------------------------------- */

static enum virtq_answer answer_of(enum mm_answer answer, const char **reason)
{
    switch (answer) {
    case MM_DONE:
        return VIRTQ_DONE;
    case MM_WAIT:
        return VIRTQ_WAIT;
    case MM_STOPPED:
        return VIRTQ_STOPPED;
    case MM_NO_PAGE:
        break;
    }
    *reason = "address outside of memory";
    return VIRTQ_BROKEN;
}

static void move(uint8_t *memory, uint8_t *buffer, size_t size, bool write)
{
    if (write)
        memcpy(memory, buffer, size);
    else
        memcpy(buffer, memory, size);
}

enum virtq_answer virtq_copy(struct vm *vm, uint64_t address, void *buffer, size_t size, bool write,
                             const char **reason)
{
    void *pages[2];
    *reason = "address outside of memory";
    if (!in_memory(vm, address, size))
        return VIRTQ_BROKEN;
    struct mm_vcpu *vcpu = &vm->vcpus[0].mm;
    gfn_t first = gfn((uint32_t)(address >> PAGE_SHIFT));
    unsigned offset = (unsigned)(address & PAGE_MASK), pinned = 0;
    unsigned count = offset + size > PAGE_SIZE ? 2 : 1;
    size_t head = count == 2 ? PAGE_SIZE - offset : size;
    enum mm_answer answer = MM_DONE;
    for (; pinned < count; pinned++) {
        answer =
            mm_pin(vm->mm, vcpu, gfn(first.v + pinned), write ? MM_WRITE : MM_READ, &pages[pinned]);
        if (answer != MM_DONE)
            break;
    }
    if (answer == MM_DONE) {
        move((uint8_t *)pages[0] + offset, buffer, head, write);
        if (count == 2)
            move(pages[1], (uint8_t *)buffer + head, size - head, write);
    }
    while (pinned--)
        mm_unpin(vm->mm, gfn(first.v + pinned));
    return answer_of(answer, reason);
}

static enum virtq_answer queue_read(struct vm *vm, struct virtq *queue, uint64_t address,
                                    void *buffer, size_t size)
{
    return virtq_copy(vm, address, buffer, size, false, &queue->reason);
}

static enum virtq_answer broken(struct virtq *queue, const char *reason)
{
    queue->reason = reason;
    return VIRTQ_BROKEN;
}

/* ---- chains ------------------------------------------------------------------------ */

static enum virtq_answer descriptor_read(struct vm *vm, struct virtq *queue, uint16_t index,
                                         struct virtq_desc *copy)
{
    if (index >= queue->size)
        return broken(queue, "descriptor index beyond the queue");
    if (queue->walked >= queue->size)
        return broken(queue, "descriptor chain longer than the queue");
    enum virtq_answer answer =
        queue_read(vm, queue, queue->desc + (uint64_t)index * DESC_BYTES, copy, sizeof(*copy));
    if (answer == VIRTQ_DONE && (copy->flags & VIRTQ_DESC_F_INDIRECT))
        return broken(queue, "indirect descriptor, which was not negotiated");
    return answer;
}

enum virtq_answer virtq_open(struct vm *vm, struct virtq *queue)
{
    uint16_t available, head;
    enum virtq_answer answer =
        queue_read(vm, queue, queue->avail + AVAIL_INDEX, &available, sizeof(available));
    if (answer != VIRTQ_DONE)
        return answer;
    uint16_t waiting = (uint16_t)(available - queue->last_avail);
    if (!waiting)
        return VIRTQ_EMPTY;
    if (waiting > queue->size)
        return broken(queue, "available index jumped");
    uint64_t slot = queue->last_avail & (queue->size - 1);
    answer = queue_read(vm, queue, queue->avail + AVAIL_RING + 2 * slot, &head, sizeof(head));
    if (answer != VIRTQ_DONE)
        return answer;
    queue->walked = 0;
    answer = descriptor_read(vm, queue, head, &queue->current);
    if (answer != VIRTQ_DONE)
        return answer;
    queue->open = true;
    queue->head = head;
    queue->offset = 0;
    queue->walked = 1;
    queue->last_avail++;
    return VIRTQ_DONE;
}

enum virtq_answer virtq_next(struct vm *vm, struct virtq *queue)
{
    struct virtq_desc copy;
    if (!(queue->current.flags & VIRTQ_DESC_F_NEXT))
        return VIRTQ_EMPTY;
    enum virtq_answer answer = descriptor_read(vm, queue, queue->current.next, &copy);
    if (answer != VIRTQ_DONE)
        return answer;
    queue->current = copy;
    queue->offset = 0;
    queue->walked++;
    return VIRTQ_DONE;
}

/* The element is written before the index that makes it visible. Writing the
 * element twice, when the index has to wait for its page, does no harm. */
enum virtq_answer virtq_close(struct vm *vm, struct virtq *queue, bool *notify)
{
    struct virtq_used_elem element = { .id = queue->head, .len = 0 };
    uint16_t flags, index = (uint16_t)(queue->used_index + 1);
    uint64_t slot = queue->used_index & (queue->size - 1);
    enum virtq_answer answer =
        queue_read(vm, queue, queue->avail + AVAIL_FLAGS, &flags, sizeof(flags));
    if (answer == VIRTQ_DONE)
        answer = virtq_copy(vm, queue->used + USED_RING + USED_ELEMENT * slot, &element,
                            sizeof(element), true, &queue->reason);
    if (answer == VIRTQ_DONE)
        answer =
            virtq_copy(vm, queue->used + USED_INDEX, &index, sizeof(index), true, &queue->reason);
    if (answer != VIRTQ_DONE)
        return answer;
    queue->used_index = index;
    queue->open = false;
    *notify |= !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
    return VIRTQ_DONE;
}
