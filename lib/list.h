/*
 * Intrusive, circular, doubly linked lists. A node that is on no list points
 * at itself, so list_remove() is idempotent. Locking is the owner's affair.
 */
#ifndef LIB_LIST_H
#define LIB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};

static inline void list_init(struct list_node *node)
{
    node->prev = node->next = node;
}
static inline bool list_is_empty(const struct list_node *head)
{
    return head->next == head;
}
static inline void list_insert_before(struct list_node *at, struct list_node *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_append(struct list_node *head, struct list_node *node)
{
    list_insert_before(head, node);
}
static inline void list_remove(struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* The first node of a list, taken off it; NULL when the list is empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
    struct list_node *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define list_for_each(node, head)                                                                  \
    for (struct list_node *node = (head)->next; node != (head); node = node->next)

#endif
