/* auth.h - credentials of Google Cloud, AWS and the Hugging Face Hub, found where their own tools
 * find them, renewed before they expire.
 *
 * Google: Application Default Credentials (AIP-4110): the file that GOOGLE_APPLICATION_CREDENTIALS
 * names (one that cannot be read is an error, never a reason to look further), then gcloud's
 * application_default_credentials.json, then the metadata server of a machine in Google Cloud.
 * File types: service_account, authorized_user, impersonated_service_account, external_account
 * (file and URL sources), external_account_authorized_user.  Without any: anonymous, which public
 * buckets accept.  With STORAGE_EMULATOR_HOST set nothing is looked up.
 *
 * All functions may be called from any thread.  No error and no description holds a token or a key.
 * Credentials that are wrong or refused are ERR_LOGIN; a service that does not answer is ERR_RETRY.
 */
#ifndef NET_AUTH_H
#define NET_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "net/net.h"

struct auth;

struct auth *auth_new(void);
void auth_free(struct auth *a);           /* NULL is fine */

enum { AUTH_HEADER_MAX = 8192 };

/* "Authorization: Bearer ..." for Google's storage and BigQuery; "" for anonymous.  The first call
 * looks the credentials up; of many threads that find a token about to expire (within 225 s), one
 * renews it.  `renew`: the server has refused what `out` still holds ("" if that is not known);
 * many threads whom one and the same token was refused make one renewal. */
int auth_google(struct net *n, bool renew, char out[AUTH_HEADER_MAX], struct err *e) MUST_CHECK;

/* In words, for messages and `doctor`: "service account x@y.iam.gserviceaccount.com (from ...)",
 * "anonymous"; looks up if nobody did.  The caller frees. */
char *auth_google_describe(struct net *n, struct err *e) MUST_CHECK;

/* The project whose quota these credentials use (quota_project_id, GOOGLE_CLOUD_QUOTA_PROJECT):
 * Google's libraries send it as "x-goog-user-project".  "" when none is named, and before the first
 * auth_google.  Lives as long as `n`. */
const char *auth_google_quota_project(struct net *n);

/* The project to run jobs in: GOOGLE_CLOUD_PROJECT, the quota project, that of the service account
 * or of the machine; "" when none is known.  Lives as long as `n`. */
int auth_google_project(struct net *n, const char **project, struct err *e) MUST_CHECK;

/* AWS: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), then the profile
 * AWS_PROFILE (default) of ~/.aws/credentials and ~/.aws/config, then the container's and the
 * instance's metadata (IMDSv2).  Empty keys: anonymous, also with AWS_NO_SIGN_REQUEST=yes.  Region:
 * AWS_REGION, AWS_DEFAULT_REGION, the profile's, us-east-1.  `renew` as above. */
struct auth_aws {
    char keys[512];               /* "KEY_ID:SECRET", "" for anonymous */
    char token[4096];             /* session token or "" */
    char region[64];
};
int auth_aws(struct net *n, bool renew, struct auth_aws *out, struct err *e) MUST_CHECK;

/* The Hub's token: HF_TOKEN, HF_TOKEN_PATH, $HF_HOME/token, ~/.cache/huggingface/token; "" for
 * none. The same form as auth_google. */
int auth_hub(struct net *n, char out[AUTH_HEADER_MAX], struct err *e) MUST_CHECK;

#endif
