/* Small things that several parts of the library share: waiting, lists of names, the words for a bad answer. */
#ifndef SLUICE_CLIENT_CLIENT_WAIT_H
#define SLUICE_CLIENT_CLIENT_WAIT_H

#include "client/client.h"

/* Blocks the calling thread (not the loop's) for about `ms`. */
void client_wait_ms(struct sluice *s, uint32_t ms);

int client_answer_bad(struct sluice_error *e, const char *operation);

/* Strings, each its own allocation, until packed. */
struct name_list {
    char **name;
    size_t count;
};
int name_list_add(struct name_list *l, struct slice name);
void name_list_free(struct name_list *l);
/* Packs into one block (free() frees it) and empties the list. -ENOMEM. */
int name_list_pack(struct name_list *l, char ***out_names, size_t *out_count);

/* All pages of a List operation whose answer is {names_key: [...], more_key: bool} and whose next page starts behind
 * start_key. */
int client_list_names(struct sluice *s, enum client_service service, const char *operation, const char *names_key,
                      const char *more_key, const char *start_key, char ***out_names, size_t *out_count,
                      struct sluice_error *e);

#endif
