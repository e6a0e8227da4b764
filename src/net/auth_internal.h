/* auth_internal.h - what the files behind auth.h share. */
#ifndef NET_AUTH_INTERNAL_H
#define NET_AUTH_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "net/auth.h"
#include "net/auth_cache.h"
#include "net/auth_google.h"

enum google_place { PLACE_UNKNOWN, PLACE_FILE, PLACE_MACHINE, PLACE_NOWHERE };

struct auth {
    struct auth_cache google, aws;
    pthread_mutex_t mutex;
    /* Under the mutex; set once and then as they are: */
    enum google_place place;
    struct google_credentials *credentials;     /* PLACE_FILE */
    char *machine_email, *machine_project;      /* PLACE_MACHINE, asked for when needed */
};

/* auth_aws.c: a cache's fetch of struct auth_aws. */
int auth_aws_fetch(struct net *n, void *arg, void *value, int64_t *expires,
                   struct err *e) MUST_CHECK;

/* The variable's value, NULL when it is empty or not set. */
const char *auth_variable(const char *name);

/* "~/name" of the user; NULL when there is no HOME.  The caller frees. */
char *auth_home(const char *name);

#endif
