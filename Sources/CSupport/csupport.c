// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "csupport.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void ps_set_thread_name(const char *name) {
  char short_name[16];
  strncpy(short_name, name, 15);
  short_name[15] = 0;
  pthread_setname_np(pthread_self(), short_name);
}

int ps_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, signal) == 0 ? 0 : errno; }

int ps_set_child_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : errno; }

int ps_eventfd(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

void ps_line_buffer_stdout(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

void *ps_shared_memory_open(const char *name, size_t size, int create, int *error) {
  int fd = shm_open(name, O_RDWR | (create ? O_CREAT : 0), 0600);
  if (fd < 0) {
    *error = errno;
    return NULL;
  }
  if (create && ftruncate(fd, (off_t)size) != 0) {
    *error = errno;
    close(fd);
    return NULL;
  }
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  *error = base == MAP_FAILED ? errno : 0;
  close(fd);
  return base == MAP_FAILED ? NULL : base;
}

void ps_shared_memory_unlink(const char *name) { shm_unlink(name); }

pid_t ps_spawn(const char *const *argv, const char *const *envp, const char *directory, int in_fd, int out_fd, int err_fd,
               int death_signal, uint32_t uid, uint32_t gid) {
  // Errors before exec come back through a close-on-exec pipe, so that a missing program is an error and not a silent exit.
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return -errno;
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0) {
    int failure = errno;
    close(report[0]);
    close(report[1]);
    return -failure;
  }
  if (pid == 0) {
    // Only async-signal-safe calls from here to exec.
    setpgid(0, 0);
    int null_fd = open("/dev/null", O_RDWR);
    int wanted[3] = {in_fd < 0 ? null_fd : in_fd, out_fd < 0 ? null_fd : out_fd, err_fd < 0 ? null_fd : err_fd};
    int moved[3];
    for (int i = 0; i < 3; i++) moved[i] = fcntl(wanted[i], F_DUPFD, 10);
    int report_fd = fcntl(report[1], F_DUPFD_CLOEXEC, 10);
    for (int i = 0; i < 3; i++) dup2(moved[i], i);
    for (int i = 0; i < 3; i++) close(moved[i]);
    for (int fd = 3; fd < 1024; fd++)
      if (fd != report_fd) close(fd);
    if (report_fd < 1023) syscall(SYS_close_range, 1024u, ~0u, 0u);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    int failed = 0;
    if (gid != (uint32_t)-1 && (setgroups(0, NULL) != 0 || setgid(gid) != 0)) failed = errno;
    if (!failed && uid != (uint32_t)-1 && setuid(uid) != 0) failed = errno;
    // After setuid: changing credentials clears the parent-death signal.
    if (!failed && death_signal && prctl(PR_SET_PDEATHSIG, death_signal) != 0) failed = errno;
    if (!failed && death_signal && getppid() != parent) _exit(127);
    if (!failed && directory && chdir(directory) != 0) failed = errno;
    if (!failed) {
      execve(argv[0], (char *const *)argv, (char *const *)envp);
      failed = errno;
    }
    if (write(report_fd, &failed, sizeof failed) < 0) _exit(126);
    _exit(127);
  }
  close(report[1]);
  int failed = 0;
  ssize_t got;
  do got = read(report[0], &failed, sizeof failed);
  while (got < 0 && errno == EINTR);
  close(report[0]);
  return got == (ssize_t)sizeof failed ? -failed : pid;
}

int64_t ps_resident_bytes(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
  FILE *file = fopen(path, "re");
  if (!file) return -1;
  long long total = 0, resident = 0;
  int got = fscanf(file, "%lld %lld", &total, &resident);
  fclose(file);
  return got == 2 ? (int64_t)resident * sysconf(_SC_PAGESIZE) : -1;
}

int ps_rename_exclusive(const char *from, const char *to) {
  if (link(from, to) != 0) return errno;
  unlink(from);
  return 0;
}

int ps_rename_exchange(const char *a, const char *b) {
  return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 ? 0 : errno;
}

void ps_start_writing(int fd) { (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }
