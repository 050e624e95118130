/* The sink for folders of this machine: "file:///dir/". See sink.h; how it works: sink_local.c. */
#ifndef SLUICE_FIREHOSE_SINK_LOCAL_H
#define SLUICE_FIREHOSE_SINK_LOCAL_H

#include "firehose/sink.h"

/* `folder` is absolute and ends with '/'; it is made when it is needed. ST_INVALID (relative, a ".." component, too
 * long), -ENOMEM. Fills `e`. */
int sink_local_create(struct loop *loop, const char *folder, struct sink **out, struct err *e) must_use;

#endif
