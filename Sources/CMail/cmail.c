// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmail.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// Numbers of curl/curl.h; they are libcurl's binary interface and never change.
enum {
  OPT_READDATA = 10009,
  OPT_ERRORBUFFER = 10010,
  OPT_URL = 10002,
  OPT_PROXY = 10004,
  OPT_CAINFO = 10065,
  OPT_USERNAME = 10173,
  OPT_PASSWORD = 10174,
  OPT_MAIL_FROM = 10186,
  OPT_MAIL_RCPT = 10187,
  OPT_READFUNCTION = 20012,
  OPT_WRITEFUNCTION = 20011,
  OPT_UPLOAD = 46,
  OPT_NOSIGNAL = 99,
  OPT_USE_SSL = 119,
  OPT_TIMEOUT_MS = 155,
  OPT_CONNECTTIMEOUT_MS = 156,
  OPT_PROTOCOLS = 181,
  OPT_SASL_IR = 218,
  USE_SSL_NONE = 0,
  USE_SSL_ALL = 3,
  PROTOCOL_SMTP = 1 << 16,
  PROTOCOL_SMTPS = 1 << 17,
  INFO_RESPONSE_CODE = 0x200000 + 2,
  GLOBAL_ALL = 3,
  ERROR_SIZE = 256,
};

struct list;
static struct {
  void *(*init)(void);
  int (*setopt)(void *, int, ...);
  int (*perform)(void *);
  void (*cleanup)(void *);
  int (*getinfo)(void *, int, ...);
  struct list *(*append)(struct list *, const char *);
  void (*free_all)(struct list *);
  const char *(*text)(int);
  int loaded;
} curl;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return;
  int (*global)(long) = (int (*)(long))dlsym(handle, "curl_global_init");
  curl.init = (void *(*)(void))dlsym(handle, "curl_easy_init");
  curl.setopt = (int (*)(void *, int, ...))dlsym(handle, "curl_easy_setopt");
  curl.perform = (int (*)(void *))dlsym(handle, "curl_easy_perform");
  curl.cleanup = (void (*)(void *))dlsym(handle, "curl_easy_cleanup");
  curl.getinfo = (int (*)(void *, int, ...))dlsym(handle, "curl_easy_getinfo");
  curl.append = (struct list * (*)(struct list *, const char *))dlsym(handle, "curl_slist_append");
  curl.free_all = (void (*)(struct list *))dlsym(handle, "curl_slist_free_all");
  curl.text = (const char *(*)(int))dlsym(handle, "curl_easy_strerror");
  curl.loaded = global && curl.init && curl.setopt && curl.perform && curl.cleanup && curl.getinfo && curl.append && curl.free_all && curl.text
                && global(GLOBAL_ALL) == 0;
}

typedef struct {
  const char *at;
  size_t left;
} source;

static size_t give(char *buffer, size_t size, size_t count, void *context) {
  source *from = context;
  size_t most = size * count;
  size_t part = from->left < most ? from->left : most;
  memcpy(buffer, from->at, part);
  from->at += part;
  from->left -= part;
  return part;
}

static size_t drop(char *buffer, size_t size, size_t count, void *context) {
  (void)buffer;
  (void)context;
  return size * count;
}

int pm_send(const pm_mail *mail, long *response, char *error, size_t error_size) {
  *response = 0;
  if (error_size) error[0] = 0;
  pthread_once(&once, load);
  void *handle = curl.loaded ? curl.init() : NULL;
  struct list *receivers = handle ? curl.append(NULL, mail->to) : NULL;
  if (!receivers) {
    if (handle) curl.cleanup(handle);
    return PM_NO_LIBRARY;
  }
  char words[ERROR_SIZE] = "";
  source text = {mail->message, mail->length};
  int code = 0;
#define SET(option, value) \
  if (code == 0) code = curl.setopt(handle, option, value)
  SET(OPT_ERRORBUFFER, words);
  SET(OPT_NOSIGNAL, 1L);
  SET(OPT_PROTOCOLS, (long)(PROTOCOL_SMTP | PROTOCOL_SMTPS));
  SET(OPT_PROXY, "");
  SET(OPT_URL, mail->url);
  SET(OPT_USE_SSL, (long)(mail->requires_tls ? USE_SSL_ALL : USE_SSL_NONE));
  if (mail->certificates) SET(OPT_CAINFO, mail->certificates);
  if (mail->user) SET(OPT_USERNAME, mail->user);
  if (mail->password) SET(OPT_PASSWORD, mail->password);
  SET(OPT_SASL_IR, 1L);
  SET(OPT_CONNECTTIMEOUT_MS, mail->timeout_ms);
  SET(OPT_TIMEOUT_MS, mail->timeout_ms);
  SET(OPT_MAIL_FROM, mail->from);
  SET(OPT_MAIL_RCPT, receivers);
  SET(OPT_UPLOAD, 1L);
  SET(OPT_READFUNCTION, give);
  SET(OPT_READDATA, &text);
  SET(OPT_WRITEFUNCTION, drop);
#undef SET
  if (code == 0) code = curl.perform(handle);
  curl.getinfo(handle, INFO_RESPONSE_CODE, response);
  if (code != 0) snprintf(error, error_size, "%s", words[0] ? words : curl.text(code));
  curl.free_all(receivers);
  curl.cleanup(handle);
  return code;
}
