#include "common/wire/aws_error.h"

#include "common/base/check.h"

static const struct aws_error_info infos[] = {
#define AWS_ERROR_INFO(id, text, status, member) {.name = (text), .http_status = (status), .message_member = (member)},
    AWS_ERROR_TABLE(AWS_ERROR_INFO)
#undef AWS_ERROR_INFO
};

const struct aws_error_info *aws_error_info(enum aws_error error)
{
    CHECK((unsigned)error < AWS_ERROR_COUNT);
    return &infos[error];
}

enum aws_error aws_error_find(struct slice name)
{
    size_t hash = slice_find(name, '#');
    if (hash < name.len)
        name = slice_from(name, hash + 1);
    for (unsigned i = 0; i < AWS_ERROR_COUNT; i++)
        if (slice_eq_str(name, infos[i].name))
            return (enum aws_error)i;
    return AWS_ERROR_COUNT;
}
