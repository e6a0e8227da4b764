/* machine.h - what the machine has. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>

/* Bytes of memory that this process can have: the machine's, or less in a container that says so.
 * 0 when nobody knows. */
int64_t machine_memory(void);

#endif
