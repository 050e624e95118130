/* CRC32C (Castagnoli), by the CPU's instruction where it has one, else by table. Any thread. */
#ifndef SLUICE_FRAME_CRC32C_H
#define SLUICE_FRAME_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `len` bytes, continuing from `crc` (0 at the start). crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The CRC of a followed by b, from the CRCs of both and b's length: no byte is read again. About half a microsecond. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, size_t len_b);

/* The table-driven version, for the test that both agree. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
