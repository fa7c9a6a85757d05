// SPDX-License-Identifier: Apache-2.0
// Sending one message with libcurl, which is looked for when it is first needed: its option function takes variable
// arguments, which Swift cannot call.
#pragma once

#include <stddef.h>

enum {
  PM_SENT = 0,
  /// The system has no libcurl.so.4, or one that cannot speak SMTP.
  PM_NO_LIBRARY = -1,
};

typedef struct {
  /// smtp://HOST:PORT or smtps://HOST:PORT.
  const char *url;
  /// NULL: does not sign in.
  const char *user;
  const char *password;
  /// Whether an smtp:// connection has to become secure before anything is said.
  int requires_tls;
  /// File with the certificates that are trusted; NULL: the system's.
  const char *certificates;
  const char *from;
  const char *to;
  /// With its headers, lines ending with CR LF.
  const char *message;
  size_t length;
  long timeout_ms;
} pm_mail;

/// Sends a message; blocks. Returns PM_SENT, PM_NO_LIBRARY or libcurl's code. `*response` is the server's last answer (0:
/// none), `error` gets what went wrong in words.
int pm_send(const pm_mail *mail, long *response, char *error, size_t error_size);
