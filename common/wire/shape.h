/*
 * Shape tables: what an operation takes and gives, described once, as AWS's models do, over plain C structs. JSON
 * decoding, validation with AWS's texts and JSON encoding run off the tables (CBOR will too); no handler parses by
 * hand.
 *
 * How a member is held in its C struct, and how "not given" looks:
 *
 *     SHAPE_STRING     struct slice              ptr NULL (an empty string has a ptr)
 *     SHAPE_BLOB       struct slice              ptr NULL
 *     SHAPE_ENUM       int (1 + index in values) 0     (negative: none of them; never after validation)
 *     SHAPE_INTEGER    struct opt_int            !set
 *     SHAPE_LONG       struct opt_long           !set
 *     SHAPE_DOUBLE     struct opt_double         !set
 *     SHAPE_BOOLEAN    struct opt_bool           !set
 *     SHAPE_TIMESTAMP  struct opt_time           !set
 *     SHAPE_LIST       LIST_OF(element)          items NULL
 *     SHAPE_MAP        struct shape_map          items NULL
 *     SHAPE_STRUCTURE  struct X *                NULL
 *
 * Elements of a list lie in an array of: struct slice, int (enum), the opt_ struct, or the C struct itself (inline, not
 * pointers). Zeroed memory is a structure in which nothing is given.
 *
 *     struct put_record_input { struct slice stream_name; struct slice data; ... };
 *
 *     static const struct shape stream_name = {SHAPE_STRING, SHAPE_RANGE(1, 128), .pattern = "[a-zA-Z0-9_.-]+"};
 *     static const struct member put_record_input_members[] = {
 *         MEMBER_STRING(struct put_record_input, stream_name, "StreamName", &stream_name, REQUIRED),
 *         MEMBER_BLOB(struct put_record_input, data, "Data", &data, REQUIRED),
 *     };
 *     const struct shape put_record_input = SHAPE_OF(struct put_record_input, put_record_input_members, NULL);
 *
 * The order of members in an input table is the order in which AWS reports validation errors (it is the order of a Java
 * hash map; kinesalite's validations list it); in an output table it is the order on the wire. One thread.
 */
#ifndef SLUICE_WIRE_SHAPE_H
#define SLUICE_WIRE_SHAPE_H

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/base/status.h"

enum shape_type {
    SHAPE_STRING,
    SHAPE_BLOB,
    SHAPE_ENUM,
    SHAPE_INTEGER,
    SHAPE_LONG,
    SHAPE_DOUBLE,
    SHAPE_BOOLEAN,
    SHAPE_TIMESTAMP,
    SHAPE_LIST,
    SHAPE_MAP, /* strings to strings */
    SHAPE_STRUCTURE,
};

struct opt_int {
    bool set;
    int32_t value;
};
struct opt_long {
    bool set;
    int64_t value;
};
struct opt_double {
    bool set;
    double value;
};
struct opt_bool {
    bool set;
    bool value;
};
struct opt_time {
    bool set;
    struct wall_ms value;
};

#define OPT_INT(v)    ((struct opt_int){true, (v)})
#define OPT_LONG(v)   ((struct opt_long){true, (v)})
#define OPT_DOUBLE(v) ((struct opt_double){true, (v)})
#define OPT_BOOL(v)   ((struct opt_bool){true, (v)})
#define OPT_TIME(v)   ((struct opt_time){true, (v)})

/* A list member. All LIST_OF types have the layout of struct shape_list. An empty list that is given has items that are
 * not NULL; in an answer a REQUIRED list is written as [] even if items is NULL. */
#define LIST_OF(type)   \
    struct {            \
        type *items;    \
        uint32_t count; \
    }
struct shape_list {
    void *items;
    uint32_t count;
};

struct shape_pair {
    struct slice key, value;
};
struct shape_map {
    struct shape_pair *items; /* in the order of the input; a later duplicate key replaces the former's value */
    uint32_t count;
};

struct member;

struct shape {
    enum shape_type type;
    bool has_min, has_max;
    int64_t min, max;            /* characters, bytes, elements, or the value of a number */
    const char *pattern;         /* STRING: AWS's regular expression, as in the model; see shape_pattern.h */
    const char *const *values;   /* ENUM: names in the order of AWS's message, NULL at the end */
    const struct shape *element; /* LIST: its elements; MAP: the values (a string) */
    const struct shape *key;     /* MAP: the keys (a string) */
    const struct member *members;
    uint32_t member_count; /* STRUCTURE */
    uint32_t size;         /* STRUCTURE: sizeof its C struct */
    const char *java_name; /* STRUCTURE: AWS prints list elements so: "com.amazonaws.kinesis.v20131202.Tag"; or NULL */
};

#define SHAPE_RANGE(lo, hi) .has_min = true, .min = (lo), .has_max = true, .max = (hi)
#define SHAPE_MIN(lo)       .has_min = true, .min = (lo)
#define SHAPE_MAX(hi)       .has_max = true, .max = (hi)

/* A structure shape from its C struct, its array of members (at least one) and its Java name (or NULL). */
#define SHAPE_OF(ctype, member_array, java)                                                                           \
    {                                                                                                                 \
        SHAPE_STRUCTURE, .members = (member_array), .member_count = ARRAY_COUNT(member_array), .size = sizeof(ctype), \
                         .java_name = (java)                                                                          \
    }
/* A structure without members (its C struct still exists: C has no empty ones). */
#define SHAPE_OF_NOTHING(ctype)                \
    {                                          \
        SHAPE_STRUCTURE, .size = sizeof(ctype) \
    }

enum member_need { OPTIONAL, REQUIRED };

struct member {
    const char *name; /* as on the wire: "StreamName" */
    uint16_t name_len;
    uint16_t need; /* enum member_need */
    uint32_t offset;
    const struct shape *shape;
};

/* offsetof, and a compile error if the field is not of the C type that its shape needs. */
#define MEMBER_OFFSET_(ctype, field, held)                                                                            \
    (offsetof(ctype, field) + 0 * sizeof(struct {                                                                     \
                                  _Static_assert(__builtin_types_compatible_p(__typeof__(((ctype *)0)->field), held), \
                                                 "wrong type");                                                       \
                                  int unused;                                                                         \
                              }))
#define MEMBER_(ctype, field, wire, shape_, need_, held)                          \
    {                                                                             \
        .name = (wire), .name_len = sizeof(wire) - 1, .need = (need_),            \
        .offset = (uint32_t)MEMBER_OFFSET_(ctype, field, held), .shape = (shape_) \
    }
#define MEMBER_STRING(c, f, w, s, n)  MEMBER_(c, f, w, s, n, struct slice)
#define MEMBER_BLOB(c, f, w, s, n)    MEMBER_(c, f, w, s, n, struct slice)
#define MEMBER_ENUM(c, f, w, s, n)    MEMBER_(c, f, w, s, n, int)
#define MEMBER_INTEGER(c, f, w, s, n) MEMBER_(c, f, w, s, n, struct opt_int)
#define MEMBER_LONG(c, f, w, s, n)    MEMBER_(c, f, w, s, n, struct opt_long)
#define MEMBER_DOUBLE(c, f, w, s, n)  MEMBER_(c, f, w, s, n, struct opt_double)
#define MEMBER_BOOLEAN(c, f, w, s, n) MEMBER_(c, f, w, s, n, struct opt_bool)
#define MEMBER_TIME(c, f, w, s, n)    MEMBER_(c, f, w, s, n, struct opt_time)
#define MEMBER_MAP(c, f, w, s, n)     MEMBER_(c, f, w, s, n, struct shape_map)
#define MEMBER_LIST(c, f, w, s, n)    MEMBER_(c, f, w, s, n, __typeof__(((c *)0)->f))
/* `held` is the pointer type of the field, as in MEMBER_STRUCTURE(struct a, filter, struct shard_filter *, ...). */
#define MEMBER_STRUCTURE(c, f, held, w, s, n) MEMBER_(c, f, w, s, n, held)

/* Shapes without constraints, for members that need no more. */
extern const struct shape shape_string, shape_blob, shape_integer, shape_long, shape_double, shape_boolean,
    shape_timestamp, shape_string_list, shape_string_map;

/* What decoding leaves behind for validation and for the error answer. Zero it, set the arena. */
struct shape_note;
struct shape_decoder {
    struct arena *arena;      /* structs, lists, blobs, unescaped strings, messages */
    struct slice message;     /* of the last failure; ptr NULL: AWS gives none */
    struct shape_note *notes; /* private: texts that are in no enum's value set; such an int is -1, -2, ... */
    uint32_t note_count;
};

/*
 * Decodes `body` into a new C struct of the structure `shape`, all in the arena (slices may borrow from `body`).
 * Unknown members are skipped, null is "not given", the last of duplicate members counts, a null structure in a list is
 * an empty one. No constraint is checked here.
 *
 *   - ST_SYNTAX: not JSON, or neither an object nor an array: SerializationException without a text.
 *   - ST_INVALID: a value of the wrong type: SerializationException with d->message.
 *   - ST_LIMIT: nested too deeply: SerializationException without a text.
 *   - -ENOMEM: the arena is used up.
 */
int shape_decode_json(struct shape_decoder *d, const struct shape *shape, struct slice body, void **out) must_use;
/*
 * Checks what shape_decode_json made against the constraints. ST_INVALID: d->message is the text of AWS's
 * ValidationException, with at most ten errors; -ENOMEM: the arena is used up.
 */
int shape_validate(struct shape_decoder *d, const struct shape *shape, const void *value) must_use;

/* Writes the structure as a JSON object; what is not given is left out. Ask bytebuf_failed. */
void shape_encode_json(const struct shape *shape, const void *value, struct bytebuf *out);

/* The text of an enum value (1 + index), or NULL. */
const char *shape_enum_name(const struct shape *shape, int value);
/* The value of an enum text, or 0. */
int shape_enum_value(const struct shape *shape, struct slice name);

/* Checks a table itself: names unique, members inside of their struct, shapes complete. NULL, or what is wrong (static
 * text). For the tests of those who write tables. */
const char *shape_check(const struct shape *shape);

#endif
