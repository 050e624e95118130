/*
 * The simulated disk's state, and what a power cut does to it. The rules are those of ext4 on a device with a volatile
 * cache, taken as nasty as POSIX lets them be:
 *
 * Data
 *  D1. A write changes `live` at once and makes its 512-byte units dirty. A datasync that succeeds makes stable every
 *      unit that was dirty when it was *submitted*, as it was then, and the file's length of that moment.
 *  D2. At a crash each dirty unit is, on its own: kept, dropped (what was stable before it), or torn (a part of each, or
 *      rubbish). A unit that was never written and never stable is zeros, not another file's past.
 *  D3. A dirty unit that is written again may have reached the medium in between.
 *  D4. A file's unsynced length may have grown to any multiple of a unit on the way, or not at all. Bytes of a kept unit
 *      beyond the length are gone.
 *  D5. A truncation that was not synced happened or did not, before all unsynced writes behind its length: if it did
 *      not, those writes are gone, too.
 *  D6. A datasync that fails loses what it should have made stable as Linux does: a unit is marked clean, and what reads
 *      see stays the new content (or falls back to the old one), but no later sync makes it stable. Some units may have
 *      reached the medium.
 *
 * Names
 *  N1. Creating, linking, removing and renaming change `live` at once. They become durable by a sync of the folder; with
 *      a change goes what it rests on: earlier changes to the same names and, for a rename, both its folders.
 *      Syncing a file makes its data durable, never its name.
 *  N2. At a crash, by its mood, the changes not synced are all kept, all lost, cut off at some point in their order (as
 *      a journal does), or chosen one by one; never one without what it rests on. A rename happens whole or not at all.
 *  N3. What no stable name leads to is gone. A removal that was lost brings the file back.
 */
#include "tests/sim/sim_store.h"

#include <stdlib.h>

#include "common/base/check.h"

const uint8_t store_zeros[STORE_PAGE];

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* Pages go back to a list, as first touch of fresh memory is slow (limits.md). */
static uint8_t *page_pool;

static uint8_t *bytes_get(void)
{
    uint8_t *p = page_pool;
    if (p)
        memcpy(&page_pool, p, sizeof page_pool);
    else
        p = sim_heap_keep(STORE_PAGE);
    return p;
}

static void bytes_put(uint8_t *p)
{
    if (!p || p == store_zeros)
        return;
    memcpy(p, &page_pool, sizeof page_pool);
    page_pool = p;
}

static const uint8_t *page_live(const struct store_page *p)
{
    return p->live ? p->live : store_zeros;
}

static const uint8_t *page_stable(const struct store_page *p)
{
    return p->stable ? p->stable : page_live(p);
}

/* Lets `stable` differ from `live` from now on. */
static void page_split(struct store_page *p)
{
    if (p->stable)
        return;
    if (!p->live) {
        p->stable = (uint8_t *)store_zeros;
        return;
    }
    p->stable = bytes_get();
    memcpy(p->stable, p->live, STORE_PAGE);
}

/* `live` as bytes that can be written. */
static uint8_t *page_touch(struct store_page *p)
{
    if (!p->live) {
        p->live = bytes_get();
        memset(p->live, 0, STORE_PAGE);
    }
    return p->live;
}

static uint8_t *page_stable_touch(struct store_page *p)
{
    page_split(p);
    if (p->stable == store_zeros) {
        p->stable = bytes_get();
        memset(p->stable, 0, STORE_PAGE);
    }
    return p->stable;
}

/* Both images become the same again: `stable` wins. */
static void page_settle(struct store_page *p)
{
    if (!p->stable)
        return;
    bytes_put(p->live);
    p->live = p->stable == store_zeros ? NULL : p->stable;
    p->stable = NULL;
    p->dirty = 0;
}

static struct store_page *page_at(struct store_node *n, uint64_t index)
{
    if (index >= n->page_count) {
        size_t count = n->page_count ? n->page_count * 2 : 16;
        while (count <= index)
            count *= 2;
        n->pages = sim_heap_keep_again(n->pages, count * sizeof *n->pages);
        memset(n->pages + n->page_count, 0, (count - n->page_count) * sizeof *n->pages);
        n->page_count = count;
    }
    return &n->pages[index];
}

/* ---- nodes and capacity ------------------------------------------------------------------------------------------ */

static bool node_charged(const struct store_node *n)
{
    return n->live_links || n->handles;
}

static void node_charge(struct store *s, struct store_node *n, int64_t pages)
{
    n->charged += (uint64_t)(pages * (int64_t)STORE_PAGE);
    if (node_charged(n))
        s->used += (uint64_t)(pages * (int64_t)STORE_PAGE);
}

static struct store_node *node_create(struct store *s, bool folder)
{
    struct store_node *n = sim_heap_keep(sizeof *n);
    n->folder = folder;
    n->number = ++s->next_number;
    n->cut_to = UINT64_MAX;
    list_push_back(&s->nodes, &n->link);
    return n;
}

static void entries_deinit(struct store_entries *e)
{
    for (size_t i = 0; i < e->count; i++)
        sim_heap_keep_free(e->at[i].name);
    sim_heap_keep_free(e->at);
    *e = (struct store_entries){0};
}

static void node_destroy(struct store_node *n)
{
    for (size_t i = 0; i < n->page_count; i++) {
        bytes_put(n->pages[i].live);
        bytes_put(n->pages[i].stable);
    }
    sim_heap_keep_free(n->pages);
    entries_deinit(&n->live);
    entries_deinit(&n->stable);
    list_remove(&n->link);
    sim_heap_keep_free(n);
}

static void node_check_gone(struct store *s, struct store_node *n)
{
    if (n != s->root && !n->live_links && !n->stable_links && !n->pending && !n->handles)
        node_destroy(n);
}

void store_hold(struct store_node *n)
{
    n->handles++;
}

void store_release(struct store *s, struct store_node *n)
{
    bool was = node_charged(n);
    n->handles--;
    if (was && !node_charged(n))
        s->used -= n->charged;
    node_check_gone(s, n);
}

static void live_links(struct store *s, struct store_node *n, int by)
{
    bool was = node_charged(n);
    n->live_links += (uint32_t)by;
    if (was && !node_charged(n))
        s->used -= n->charged;
    if (!was && node_charged(n))
        s->used += n->charged;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static char *text_keep(const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(sim_heap_keep(len), text, len);
}

struct store_node *store_entry(struct store_entries *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->at[i].name, name) == 0)
            return e->at[i].node;
    return NULL;
}

static void entries_add(struct store_entries *e, const char *name, struct store_node *node)
{
    if (e->count == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 8;
        e->at = sim_heap_keep_again(e->at, e->cap * sizeof *e->at);
    }
    e->at[e->count++] = (struct store_entry){text_keep(name), node};
}

/* Takes the name out; returns the node or NULL. */
static struct store_node *entries_remove(struct store_entries *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(e->at[i].name, name) != 0)
            continue;
        struct store_node *node = e->at[i].node;
        sim_heap_keep_free(e->at[i].name);
        e->at[i] = e->at[--e->count];
        return node;
    }
    return NULL;
}

struct store_node *store_parent(struct store *s, const char *path, char last[STORE_NAME_MAX + 1], int *out_error)
{
    struct store_node *at = s->root;
    while (*path == '/')
        path++;
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len > STORE_NAME_MAX) {
            *out_error = -ENAMETOOLONG;
            return NULL;
        }
        memcpy(last, path, len);
        last[len] = 0;
        path += len;
        while (*path == '/')
            path++;
        if (!*path)
            return at;
        struct store_node *next = store_entry(&at->live, last);
        if (!next || !next->folder) {
            *out_error = next ? -ENOTDIR : -ENOENT;
            return NULL;
        }
        at = next;
    }
}

struct store_node *store_find(struct store *s, const char *path)
{
    char last[STORE_NAME_MAX + 1];
    int error;
    struct store_node *at = store_parent(s, path, last, &error);
    return at ? (*last ? store_entry(&at->live, last) : at) : NULL;
}

static void change_add(struct store *s, enum store_change_kind kind, struct store_node *from, const char *from_name,
                       struct store_node *to, const char *to_name, struct store_node *node)
{
    struct store_change *c = sim_heap_keep(sizeof *c);
    *c = (struct store_change){.kind = kind, .number = ++s->next_number, .from = from, .to = to, .node = node};
    c->from_name = from ? text_keep(from_name) : NULL;
    c->to_name = text_keep(to_name);
    if (from)
        from->pending++;
    to->pending++;
    node->pending++;
    list_push_back(&s->changes, &c->link);
}

static void change_free(struct store *s, struct store_change *c)
{
    struct store_node *held[3] = {c->from, c->to, c->node};
    list_remove(&c->link);
    sim_heap_keep_free(c->from_name);
    sim_heap_keep_free(c->to_name);
    sim_heap_keep_free(c);
    for (int i = 0; i < 3; i++) {
        if (!held[i])
            continue;
        held[i]->pending--;
        node_check_gone(s, held[i]);
    }
}

static void stable_remove(struct store_node *folder, const char *name)
{
    struct store_node *old = entries_remove(&folder->stable, name);
    if (old)
        old->stable_links--;
}

static void change_apply(struct store_change *c)
{
    if (c->kind == STORE_RENAME)
        stable_remove(c->from, c->from_name);
    stable_remove(c->to, c->to_name);
    if (c->kind != STORE_UNLINK) {
        entries_add(&c->to->stable, c->to_name, c->node);
        c->node->stable_links++;
    }
}

static bool change_touches(const struct store_change *c, const struct store_node *folder, const char *name)
{
    return (c->to == folder && strcmp(c->to_name, name) == 0) || (c->from == folder && strcmp(c->from_name, name) == 0);
}

/* True if `late` rests on `early`: they have a name in common. */
static bool change_rests_on(const struct store_change *late, const struct store_change *early)
{
    return change_touches(early, late->to, late->to_name) ||
           (late->from && change_touches(early, late->from, late->from_name));
}

/* Applies the chosen changes in order and forgets them. */
static void changes_apply_chosen(struct store *s)
{
    LIST_FOREACH_SAFE (it, &s->changes) {
        struct store_change *c = CONTAINER_OF(it, struct store_change, link);
        if (!c->chosen)
            continue;
        struct store_node *old = store_entry(&c->to->stable, c->to_name), *node = c->node;
        change_apply(c);
        change_free(s, c);
        if (old && old != node) /* replaced */
            node_check_gone(s, old);
    }
}

void store_sync_folder(struct store *s, struct store_node *folder, uint64_t number)
{
    for (struct list *it = s->changes.prev; it != &s->changes; it = it->prev) {
        struct store_change *c = CONTAINER_OF(it, struct store_change, link);
        c->chosen = c->number <= number && (c->to == folder || c->from == folder);
        for (struct list *up = it->next; up != &s->changes && !c->chosen; up = up->next) {
            struct store_change *late = CONTAINER_OF(up, struct store_change, link);
            c->chosen = late->chosen && change_rests_on(late, c);
        }
    }
    changes_apply_chosen(s);
}

int store_open(struct store *s, const char *path, unsigned flags, struct store_node **out)
{
    char name[STORE_NAME_MAX + 1];
    int error;
    struct store_node *folder = store_parent(s, path, name, &error);
    if (!folder)
        return error;
    struct store_node *n = store_entry(&folder->live, name);
    if (n && (flags & IO_CREATE) && (flags & IO_EXCL))
        return -EEXIST;
    if (n && n->folder)
        return -EISDIR;
    if (!n && !(flags & IO_CREATE))
        return -ENOENT;
    if (!n) {
        n = node_create(s, false);
        entries_add(&folder->live, name, n);
        live_links(s, n, 1);
        change_add(s, STORE_LINK, NULL, NULL, folder, name, n);
    } else if ((flags & IO_TRUNC) && (flags & IO_WRITE)) {
        int rc = store_truncate(s, n, 0);
        CHECK(rc == 0);
    }
    *out = n;
    return 0;
}

int store_mkdir(struct store *s, const char *path)
{
    char name[STORE_NAME_MAX + 1];
    int error;
    struct store_node *folder = store_parent(s, path, name, &error);
    if (!folder)
        return error;
    if (!*name || store_entry(&folder->live, name))
        return -EEXIST;
    struct store_node *n = node_create(s, true);
    entries_add(&folder->live, name, n);
    live_links(s, n, 1);
    change_add(s, STORE_LINK, NULL, NULL, folder, name, n);
    return 0;
}

int store_unlink(struct store *s, const char *path, bool want_folder)
{
    char name[STORE_NAME_MAX + 1];
    int error;
    struct store_node *folder = store_parent(s, path, name, &error);
    if (!folder)
        return error;
    struct store_node *n = store_entry(&folder->live, name);
    if (!n)
        return -ENOENT;
    if (n->folder != want_folder)
        return n->folder ? -EISDIR : -ENOTDIR;
    if (n->folder && n->live.count)
        return -ENOTEMPTY;
    entries_remove(&folder->live, name);
    change_add(s, STORE_UNLINK, NULL, NULL, folder, name, n);
    live_links(s, n, -1);
    return 0;
}

int store_rename(struct store *s, const char *from, const char *to, bool replace)
{
    char from_name[STORE_NAME_MAX + 1], to_name[STORE_NAME_MAX + 1];
    int error;
    struct store_node *from_folder = store_parent(s, from, from_name, &error);
    if (!from_folder)
        return error;
    struct store_node *to_folder = store_parent(s, to, to_name, &error);
    if (!to_folder)
        return error;
    struct store_node *n = store_entry(&from_folder->live, from_name), *old = store_entry(&to_folder->live, to_name);
    if (!n)
        return -ENOENT;
    if (old && !replace)
        return -EEXIST;
    if (old == n)
        return 0;
    if (old && old->folder)
        return n->folder && !old->live.count ? -EBUSY : -EISDIR;
    change_add(s, STORE_RENAME, from_folder, from_name, to_folder, to_name, n);
    entries_remove(&from_folder->live, from_name);
    entries_remove(&to_folder->live, to_name);
    entries_add(&to_folder->live, to_name, n);
    if (old) {
        live_links(s, old, -1);
        node_check_gone(s, old);
    }
    return 0;
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

int64_t store_read(struct store_node *n, void *out, size_t len, uint64_t offset)
{
    if (offset >= n->size)
        return 0;
    if (len > n->size - offset)
        len = n->size - offset;
    for (size_t done = 0; done < len;) {
        uint64_t index = (offset + done) / STORE_PAGE, in = (offset + done) % STORE_PAGE;
        size_t part = STORE_PAGE - in < len - done ? STORE_PAGE - in : len - done;
        const uint8_t *from = index < n->page_count ? page_live(&n->pages[index]) : store_zeros;
        memcpy((uint8_t *)out + done, from + in, part);
        done += part;
    }
    return (int64_t)len;
}

static bool page_allocate(struct store *s, struct store_node *n, struct store_page *p)
{
    if (p->allocated)
        return true;
    if (s->used + STORE_PAGE > s->capacity)
        return false;
    p->allocated = true;
    node_charge(s, n, 1);
    return true;
}

/* Writes the part of a page that lies in bytes in..in+len-1, unit by unit. */
static void page_write(struct store *s, struct store_page *p, const uint8_t *bytes, size_t in, size_t len,
                       uint32_t skip)
{
    page_split(p);
    uint8_t *live = page_touch(p);
    for (size_t at = in; at < in + len;) {
        size_t unit = at / STORE_UNIT, end = (unit + 1) * STORE_UNIT;
        if (end > in + len)
            end = in + len;
        if (!skip || !sim_chance(s->world, skip)) {
            if ((p->dirty >> unit & 1) && sim_chance(s->world, 500000)) /* D3 */
                memcpy(page_stable_touch(p) + unit * STORE_UNIT, live + unit * STORE_UNIT, STORE_UNIT);
            memcpy(live + at, bytes + (at - in), end - at);
            p->dirty |= (uint8_t)(1u << unit);
        }
        at = end;
    }
}

int64_t store_write(struct store *s, struct store_node *n, const void *bytes, size_t len, uint64_t offset,
                    uint32_t skip)
{
    size_t done = 0;
    while (done < len) {
        uint64_t index = (offset + done) / STORE_PAGE, in = (offset + done) % STORE_PAGE;
        size_t part = STORE_PAGE - in < len - done ? STORE_PAGE - in : len - done;
        struct store_page *p = page_at(n, index);
        if (!page_allocate(s, n, p))
            break;
        page_write(s, p, (const uint8_t *)bytes + done, in, part, skip);
        done += part;
        if (offset + done > n->size)
            n->size = offset + done;
    }
    return done || !len ? (int64_t)done : -ENOSPC;
}

int store_allocate(struct store *s, struct store_node *n, uint64_t offset, uint64_t len)
{
    for (uint64_t i = offset / STORE_PAGE; i * STORE_PAGE < offset + len; i++)
        if (!page_allocate(s, n, page_at(n, i)))
            return -ENOSPC;
    if (offset + len > n->size)
        n->size = offset + len;
    return 0;
}

/* Zeros `live` from byte `in` of a page on, dirty. */
static void page_cut(struct store *s, struct store_node *n, struct store_page *p, size_t in)
{
    if (memcmp(page_live(p) + in, store_zeros, STORE_PAGE - in) != 0)
        page_write(s, p, store_zeros, in, STORE_PAGE - in, 0);
    if (in == 0 && p->allocated) {
        p->allocated = false;
        node_charge(s, n, -1);
    }
}

int store_truncate(struct store *s, struct store_node *n, uint64_t len)
{
    if (len < n->size) {
        for (uint64_t i = len / STORE_PAGE; i < n->page_count; i++)
            page_cut(s, n, &n->pages[i], i == len / STORE_PAGE ? len % STORE_PAGE : 0);
        if (len < n->cut_to)
            n->cut_to = len;
        n->cuts++;
    }
    n->size = len;
    return 0;
}

/* ---- syncs ------------------------------------------------------------------------------------------------------- */

void store_sync_begin(struct store_node *n, struct store_sync *out)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n->page_count; i++)
        count += n->pages[i].dirty != 0;
    *out = (struct store_sync){.node = n, .size = n->size, .cuts = n->cuts};
    out->page = sim_heap_keep((count + 1) * sizeof *out->page);
    for (size_t i = 0; i < n->page_count; i++) {
        struct store_page *p = &n->pages[i];
        if (!p->dirty)
            continue;
        struct store_sync_page *y = &out->page[out->count++];
        *y = (struct store_sync_page){i, p->dirty, bytes_get()};
        memcpy(y->bytes, page_live(p), STORE_PAGE);
    }
    store_hold(n);
}

void store_sync_drop(struct store *s, struct store_sync *y)
{
    for (uint32_t i = 0; i < y->count; i++)
        bytes_put(y->page[i].bytes);
    sim_heap_keep_free(y->page);
    store_release(s, y->node);
    y->page = NULL;
}

/* One unit of a page reaches the medium; clean unless it was changed again meanwhile. */
static void unit_sync(struct store_page *p, const uint8_t *bytes, unsigned unit)
{
    size_t at = unit * STORE_UNIT;
    memcpy(page_stable_touch(p) + at, bytes + at, STORE_UNIT);
    if (memcmp(page_live(p) + at, bytes + at, STORE_UNIT) == 0)
        p->dirty &= (uint8_t) ~(1u << unit);
}

void store_sync_end(struct store *s, struct store_sync *y)
{
    struct store_node *n = y->node;
    for (uint32_t i = 0; i < y->count; i++) {
        struct store_page *p = &n->pages[y->page[i].index];
        for (unsigned unit = 0; unit < STORE_UNITS; unit++)
            if (y->page[i].units >> unit & 1)
                unit_sync(p, y->page[i].bytes, unit);
        if (!p->dirty && memcmp(page_live(p), page_stable(p), STORE_PAGE) == 0)
            page_settle(p);
    }
    n->stable_size = y->size;
    if (n->cuts == y->cuts)
        n->cut_to = UINT64_MAX;
    store_sync_drop(s, y);
}

/* D6. The length counts as data does. */
void store_sync_fail(struct store *s, struct store_sync *y)
{
    struct store_node *n = y->node;
    uint32_t written = (uint32_t)sim_below(s->world, 3) * 500000;
    bool falls_back = sim_chance(s->world, 300000);
    for (uint32_t i = 0; i < y->count; i++) {
        struct store_page *p = &n->pages[y->page[i].index];
        for (unsigned unit = 0; unit < STORE_UNITS; unit++) {
            if (!(y->page[i].units >> unit & 1))
                continue;
            size_t at = unit * STORE_UNIT;
            if (sim_chance(s->world, written))
                unit_sync(p, y->page[i].bytes, unit);
            else if (memcmp(page_live(p) + at, y->page[i].bytes + at, STORE_UNIT) == 0) {
                if (falls_back)
                    memcpy(page_touch(p) + at, page_stable(p) + at, STORE_UNIT);
                p->dirty &= (uint8_t) ~(1u << unit);
            }
        }
    }
    store_sync_drop(s, y);
}

void store_sync_all(struct store *s)
{
    LIST_FOREACH (it, &s->nodes) {
        struct store_node *n = CONTAINER_OF(it, struct store_node, link);
        if (n->folder)
            continue;
        struct store_sync y;
        store_sync_begin(n, &y);
        store_sync_end(s, &y);
    }
    LIST_FOREACH (it, &s->changes)
        CONTAINER_OF(it, struct store_change, link)->chosen = true;
    changes_apply_chosen(s);
}

/* ---- the power cut ----------------------------------------------------------------------------------------------- */

/* The chance of an unsynced thing to be kept differs from crash to crash: all, none and halves are all likely. */
static uint32_t mood_draw(struct sim_world *w)
{
    switch (sim_below(w, 4)) {
    case 0:
        return 0;
    case 1:
        return 1000000;
    case 2:
        return 500000;
    default:
        return (uint32_t)sim_below(w, 1000000);
    }
}

static void unit_tear(struct sim_world *w, uint8_t *stable, const uint8_t *live)
{
    size_t cut = sim_between(w, 1, STORE_UNIT - 1);
    switch (sim_below(w, 4)) {
    case 0:
        memcpy(stable, live, cut);
        break;
    case 1:
        memcpy(stable + cut, live + cut, STORE_UNIT - cut);
        break;
    case 2:
        memset(stable, 0, STORE_UNIT);
        break;
    default:
        sim_fill(w, stable, STORE_UNIT);
    }
}

static void page_crash(struct store *s, struct store_page *p, uint32_t keep, uint32_t tear)
{
    for (unsigned unit = 0; unit < STORE_UNITS && p->dirty; unit++) {
        if (!(p->dirty >> unit & 1))
            continue;
        size_t at = unit * STORE_UNIT;
        if (sim_chance(s->world, tear)) {
            unit_tear(s->world, page_stable_touch(p) + at, page_live(p) + at);
            s->counts->units_torn++;
        } else if (sim_chance(s->world, keep)) {
            memcpy(page_stable_touch(p) + at, page_live(p) + at, STORE_UNIT);
            s->counts->units_kept++;
        } else {
            s->counts->units_dropped++;
        }
    }
    page_settle(p);
    p->dirty = 0;
}

/* D4, D5: the length that the file has after the crash. */
static uint64_t size_crash(struct store *s, struct store_node *n, uint32_t keep)
{
    uint64_t size = n->stable_size;
    if (n->cut_to < size) {
        if (sim_chance(s->world, keep)) {
            size = n->cut_to;
        } else {
            for (uint64_t i = n->cut_to / STORE_PAGE; i < n->page_count; i++) {
                n->pages[i].dirty = 0; /* a partly cut page as a whole: its unsynced units count as dropped */
                page_settle(&n->pages[i]);
            }
            return size;
        }
    }
    if (n->size <= size)
        return size;
    switch (sim_below(s->world, 3)) {
    case 0:
        return size;
    case 1:
        return n->size;
    default:
        size += sim_below(s->world, n->size - size + 1);
        size = (size + STORE_UNIT - 1) / STORE_UNIT * STORE_UNIT;
        return size < n->size ? size : n->size;
    }
}

static void file_crash(struct store *s, struct store_node *n)
{
    uint32_t keep = mood_draw(s->world),
             tear = sim_chance(s->world, 500000) ? (uint32_t)sim_below(s->world, 200000) : 0;
    uint64_t size = size_crash(s, n, keep);
    for (size_t i = 0; i < n->page_count; i++) {
        struct store_page *p = &n->pages[i];
        page_crash(s, p, keep, tear);
        uint64_t start = (uint64_t)i * STORE_PAGE;
        if (start >= size) {
            bytes_put(p->live);
            p->live = NULL;
        } else if (size - start < STORE_PAGE && p->live) {
            memset(p->live + (size - start), 0, STORE_PAGE - (size - start));
        }
        p->allocated = p->live != NULL || (p->allocated && start < size);
    }
    n->size = n->stable_size = size;
    n->cut_to = UINT64_MAX;
}

/* N2. */
static void names_crash(struct store *s)
{
    uint32_t keep = mood_draw(s->world);
    bool in_order = sim_chance(s->world, 500000), ended = false;
    LIST_FOREACH (it, &s->changes) {
        struct store_change *c = CONTAINER_OF(it, struct store_change, link);
        c->chosen = !ended && sim_chance(s->world, keep);
        for (struct list *e = s->changes.next; e != it && c->chosen; e = e->next) {
            struct store_change *early = CONTAINER_OF(e, struct store_change, link);
            c->chosen = early->chosen || !change_rests_on(c, early);
        }
        ended = in_order && !c->chosen;
        s->counts->names_lost += !c->chosen;
    }
    changes_apply_chosen(s);
    while (!list_empty(&s->changes))
        change_free(s, CONTAINER_OF(s->changes.next, struct store_change, link));
}

/* `live` becomes what `stable` is, for all folders that can be reached. */
static void folder_restore(struct store *s, struct store_node *folder)
{
    for (size_t i = 0; i < folder->stable.count; i++) {
        struct store_node *n = folder->stable.at[i].node;
        entries_add(&folder->live, folder->stable.at[i].name, n);
        n->live_links++;
        if (n->folder)
            folder_restore(s, n);
    }
}

void store_crash(struct store *s)
{
    names_crash(s);
    LIST_FOREACH (it, &s->nodes) {
        struct store_node *n = CONTAINER_OF(it, struct store_node, link);
        CHECK(n->handles == 0 && n->pending == 0);
        entries_deinit(&n->live);
        n->live_links = 0;
    }
    folder_restore(s, s->root);
    s->used = 0;
    LIST_FOREACH_SAFE (it, &s->nodes) {
        struct store_node *n = CONTAINER_OF(it, struct store_node, link);
        if (n != s->root && !n->live_links) {
            node_destroy(n); /* N3; what a lost folder held is not reached either */
            continue;
        }
        if (!n->folder)
            file_crash(s, n);
        n->charged = 0;
        for (size_t i = 0; i < n->page_count; i++)
            n->charged += n->pages[i].allocated ? STORE_PAGE : 0;
        s->used += n->charged;
    }
}

/* ---- the test's own hand ----------------------------------------------------------------------------------------- */

bool store_flip(struct store_node *n, uint64_t offset, uint8_t mask)
{
    if (offset >= n->size || offset / STORE_PAGE >= n->page_count)
        return false;
    struct store_page *p = &n->pages[offset / STORE_PAGE];
    page_touch(p)[offset % STORE_PAGE] ^= mask;
    if (p->stable)
        page_stable_touch(p)[offset % STORE_PAGE] ^= mask;
    return true;
}

void store_poke(struct store *s, struct store_node *n, uint64_t offset, const void *bytes, size_t len)
{
    struct store_sync y;
    CHECK(store_write(s, n, bytes, len, offset, 0) == (int64_t)len);
    store_sync_begin(n, &y);
    store_sync_end(s, &y);
}

void store_init(struct store *s, struct sim_world *w, uint64_t capacity, struct sim_counts *counts)
{
    *s = (struct store){.world = w, .capacity = capacity, .counts = counts};
    list_init(&s->nodes);
    list_init(&s->changes);
    s->root = node_create(s, true);
}

void store_deinit(struct store *s)
{
    while (!list_empty(&s->changes)) {
        struct store_change *c = CONTAINER_OF(s->changes.next, struct store_change, link);
        list_remove(&c->link);
        sim_heap_keep_free(c->from_name);
        sim_heap_keep_free(c->to_name);
        sim_heap_keep_free(c);
    }
    while (!list_empty(&s->nodes))
        node_destroy(CONTAINER_OF(s->nodes.next, struct store_node, link));
}
