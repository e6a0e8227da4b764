/* auth_profile.h - the files of AWS's tools: sections of "key = value" (docs.aws.amazon.com/cli:
 * "Configuration and credential file settings").
 *
 * Lines that begin with # or ; are comments, as is what follows a space and one of them; indented
 * lines belong to a nested setting and are left out.  Anything else is an error.
 */
#ifndef NET_AUTH_PROFILE_H
#define NET_AUTH_PROFILE_H

#include "base/err.h"
#include "base/json.h"

/* The settings of a section as strings, NULL when there is no such section or no such file.  Errors
 * are ERR_LOGIN, "PATH:LINE: ...", and do not quote values.  The caller calls json_decref. */
int profile_read(const char *path, const char *section, json_t **settings,
                 struct err *e) MUST_CHECK;

/* The same out of a text, which is changed; errors are "NAME:LINE: ...". */
int profile_parse(const char *name, char *text, size_t size, const char *section, json_t **settings,
                  struct err *e) MUST_CHECK;

#endif
