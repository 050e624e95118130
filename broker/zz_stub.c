#include "firehose/api/firehose_api.h"
void firehose_api_setup(const struct firehose_api_hooks *hooks) {(void)hooks;}
const struct service firehose_service = {.target_prefix="Firehose_20150804", .signing_name="firehose"};
