/* tests/bench/floor.h - the least that an engine of this design must do.
 *
 * What crdt/ does when one person alone replays recorded edits and sends the
 * update of each transaction, and nothing else: one client, text only, nothing
 * applied from others, no item found by its id, tombstones not joined, text
 * never given back, no limits, arguments trusted, out of memory: abort.  The
 * design is that of crdt/store.h: runs in an arena, a B+tree over them in
 * document order, a log of the text, the place of the last edit.  Its updates
 * are those of crdt/, byte for byte; bench_text compares them.
 *
 * So its times say what is left to gain without another design. */
#ifndef CV_TESTS_BENCH_FLOOR_H
#define CV_TESTS_BENCH_FLOOR_H
#include <stddef.h>
#include <stdint.h>

struct floor;

/* Client 1. */
struct floor *floor_new(void);
void floor_free(struct floor *f);
/* An empty text in the memory of the former one: no page is touched for the
 * first time. */
void floor_reset(struct floor *f);
/* In bytes, on character borders. */
void floor_insert(struct floor *f, size_t at, const void *text, size_t len);
void floor_delete(struct floor *f, size_t at, size_t len);
/* The update of all since the last call, borrowed until the next one; 0 bytes
 * if there was nothing. */
size_t floor_commit(struct floor *f, const uint8_t **update);
/* Copy the text to `to` (NULL: nowhere); its length. */
size_t floor_text(struct floor *f, uint8_t *to);
#endif
