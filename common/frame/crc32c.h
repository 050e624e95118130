/* CRC32C (Castagnoli), by the CPU's instruction where it has one, else by table. Any thread. */
#ifndef SLUICE_FRAME_CRC32C_H
#define SLUICE_FRAME_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `len` bytes, continuing from `crc` (0 at the start). crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
