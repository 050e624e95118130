/* Assertions for bugs of our own. They stay on in release builds; bytes from network or disk are never asserted on. */
#ifndef SLUICE_BASE_CHECK_H
#define SLUICE_BASE_CHECK_H

__attribute__((noreturn, cold)) void check_failed(const char *expr, const char *file, int line);

#define CHECK(expr) (__builtin_expect(!(expr), 0) ? check_failed(#expr, __FILE__, __LINE__) : (void)0)

#endif
