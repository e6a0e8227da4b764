/* auth_metadata.h - tokens from the metadata server that every machine in Google Cloud has.
 *
 * It is asked at its address, not by its name, which elsewhere may take half a minute not to be
 * found; GCE_METADATA_HOST names another one, NO_GCE_CHECK=true none. */
#ifndef NET_AUTH_METADATA_H
#define NET_AUTH_METADATA_H

#include "net/auth_token.h"

/* A token of the machine's service account.  1 when there is no metadata server, or one without
 * an account; -1 on failures of one that is there.  Takes at most about 3 s where there is none. */
int metadata_token(struct net *n, struct auth_token *t, struct err *e) MUST_CHECK;

/* A line of text such as "project/project-id" or "instance/service-accounts/default/email"; NULL
 * when it is not to be had.  The caller frees. */
char *metadata_text(struct net *n, const char *name);

#endif
