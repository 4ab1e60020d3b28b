// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The threads of a job: started once, kept to its end, joined by a cheap barrier.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/core/error.h"

namespace fusegrad::runtime {

/// All threads of a fixed number wait for each other. A waiting thread spins for some microseconds
/// and then sleeps until it is woken: with fewer free cores than threads the others get on.
class Barrier {
 public:
  explicit Barrier(int thread_count);
  /// What any thread wrote before is seen by every thread after.
  void wait();

 private:
  const uint32_t thread_count_;
  const bool spins_;
  // On lines of their own: those who spin on the generation must not slow down those who arrive.
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> vain_spins_{0};  ///< in a row; a hint, so that lost updates do not matter
};

/// Tasks [begin, end).
struct TaskRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Part `thread` of `thread_count` almost equal parts: [n * t / T, n * (t + 1) / T), without
/// overflow.
TaskRange part_of_tasks(int64_t tasks, int thread, int thread_count);

/// Cores that this process may use (at least 1).
int usable_cores();

/// What a command line says about threads: so many, or with 0 one for each usable core.
int chosen_threads(int threads);

/// One team per job. The caller of `run` is thread 0; the others sleep between calls.
class ThreadTeam {
 public:
  static constexpr int largest_thread_count = 1024;

  /// Starts thread_count - 1 threads. Fails with ExitCode::usage when the number is not in
  /// 1..largest_thread_count, with ExitCode::device when the system refuses a thread.
  static Expected<std::unique_ptr<ThreadTeam>> start(int thread_count);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int thread_count() const { return thread_count_; }
  /// Calls body(thread, thread_count) once on every thread and returns when all have returned. One
  /// at a time and never from inside a body.
  void run(const std::function<void(int thread, int thread_count)>& body);
  /// To be called by every thread of a body, equally often.
  void barrier() { barrier_.wait(); }

 private:
  explicit ThreadTeam(int thread_count);
  void work(int thread);

  const int thread_count_;
  Barrier barrier_;
  /// Only read between the two barriers of a `run`; null asks the threads to end.
  const std::function<void(int, int)>* body_ = nullptr;
  std::atomic<bool> running_{false};
  std::vector<std::thread> threads_;
  /// The threads wait for `ready_`, and end at once where the team could not be completed.
  std::atomic<bool> given_up_{false};
  std::atomic<bool> ready_{false};
};

}  // namespace fusegrad::runtime
