/* version.h - the version of the program, as `attune --version` prints it. */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

#define ATTUNE_VERSION "0.1.0"

#endif
