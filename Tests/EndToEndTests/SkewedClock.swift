// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import TestSupport

/// A wall clock that is ahead or behind, for the processes that are started with its environment; it may jump while they run. Their other
/// clocks stay right, as they do when a machine's clock is set.
final class SkewedClock: Sendable {
  private let path: String
  /// For processes, beside their own.
  let environment: [String: String]

  /// - Parameter folder: that every user may read.
  /// - Throws: `unavailable` when there is no C compiler.
  init(in folder: String, name: String) throws {
    path = "\(folder)/\(name).clock"
    let library = "\(folder)/skewed-clock.so"
    if !FileManager.default.fileExists(atPath: library) {
      try Data(Self.source.utf8).write(to: URL(fileURLWithPath: library + ".c"))
      let answer = try Program.run("/usr/bin/env", ["cc", "-shared", "-fPIC", "-O1", "-o", library, library + ".c", "-ldl"], timeout: 60)
      guard answer.status == 0 else { throw PlatformError(.unavailable, "cc: \(answer.all)") }
    }
    environment = ["LD_PRELOAD": library, "SKEWED_CLOCK": path]
    try Data(count: 8).write(to: URL(fileURLWithPath: path))
    chmod(path, 0o644)
  }

  /// The shift from now on, for all of them.
  func set(seconds: Int64) throws {
    // Written in place: they have it mapped.
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try withUnsafeBytes(of: seconds) { try file.write(contentsOf: Data($0)) }
    try file.close()
  }

  private static let source = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <semaphore.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static const volatile int64_t *shift;
    static int (*real_clock)(clockid_t, struct timespec *);
    static int (*real_semaphore)(sem_t *, const struct timespec *);
    static int (*real_condition)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

    __attribute__((constructor)) static void begin(void) {
      real_clock = dlsym(RTLD_NEXT, "clock_gettime");
      real_semaphore = dlsym(RTLD_NEXT, "sem_timedwait");
      real_condition = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
      if (!real_condition) real_condition = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
      const char *path = getenv("SKEWED_CLOCK");
      int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
      if (file < 0) return;
      void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
      close(file);
      if (page != MAP_FAILED) shift = page;
    }

    static int64_t now_shift(void) { return shift ? *shift : 0; }

    int clock_gettime(clockid_t clock, struct timespec *time) {
      int status = real_clock ? real_clock(clock, time) : (int)syscall(SYS_clock_gettime, clock, time);
      if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += now_shift();
      return status;
    }

    int gettimeofday(struct timeval *restrict time, void *restrict zone) {
      struct timespec exact;
      (void)zone;
      clock_gettime(CLOCK_REALTIME, &exact);
      time->tv_sec = exact.tv_sec;
      time->tv_usec = exact.tv_nsec / 1000;
      return 0;
    }

    time_t time(time_t *into) {
      struct timespec exact;
      clock_gettime(CLOCK_REALTIME, &exact);
      if (into) *into = exact.tv_sec;
      return exact.tv_sec;
    }

    /* Moments until which the kernel waits are by its own clock. Those of the monotonic one are small numbers. */
    static struct timespec real(const struct timespec *moment) {
      struct timespec exact = *moment;
      if (exact.tv_sec > 1000000000) exact.tv_sec -= now_shift();
      return exact;
    }

    int sem_timedwait(sem_t *semaphore, const struct timespec *moment) {
      struct timespec exact = real(moment);
      return real_semaphore(semaphore, &exact);
    }

    int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *moment) {
      struct timespec exact = real(moment);
      return real_condition(condition, mutex, &exact);
    }
    """
}
