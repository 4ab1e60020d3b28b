// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A training step is shorter than starting a thread: the team lives as long as the job, and a step
// costs one barrier per launch.
#include "runtime/core/thread_team.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

namespace {

// About what it costs to sleep and be woken, on a virtual machine in particular: whoever spins that
// long before it sleeps never waits more than twice as long as one that knew when to sleep. Far
// shorter than a time slice.
constexpr std::chrono::microseconds longest_spin(50);
constexpr int pauses_between_looks_at_the_clock = 32;

// Another process may hold a core for long. After so many waits in a row in which spinning was in
// vain, only one of several spins, to find out whether the core is free again.
constexpr uint32_t vain_spins_before_sleeping_at_once = 4;
constexpr uint32_t waits_between_trials = 16;

void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);

/// Sleeps while the word still is `value`; may return early.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr,
          nullptr, 0);
}

void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr,
          nullptr, 0);
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  // More cores than the set has bits.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int chosen_threads(int threads) { return threads == 0 ? usable_cores() : threads; }

TaskRange part_of_tasks(int64_t tasks, int thread, int thread_count) {
  // n * t / T = (q * T + r) * t / T = q * t + r * t / T with q = n / T, r = n % T: nothing
  // overflows.
  const int64_t quotient = tasks / thread_count;
  const int64_t remainder = tasks % thread_count;
  const auto bound = [&](int64_t part) {
    return quotient * part + remainder * part / thread_count;
  };
  return {bound(thread), bound(thread + 1)};
}

Barrier::Barrier(int thread_count)
    : thread_count_(static_cast<uint32_t>(thread_count)),
      // Whoever spins with more threads than cores keeps the core from the one it waits for.
      spins_(thread_count <= usable_cores()) {}

void Barrier::wait() {
  if (thread_count_ == 1) return;
  // Cannot change before this thread has arrived.
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == thread_count_) {
    // Nobody arrives for the next round before the generation moves.
    arrived_.store(0, std::memory_order_relaxed);
    // Sequentially consistent together with the sleepers' count: either this thread sees the
    // sleeper, or the sleeper finds the generation changed. Without sleepers no system call is
    // made.
    generation_.store(generation + 1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) wake_all(generation_);
    return;
  }
  const bool was_vain =
      vain_spins_.load(std::memory_order_relaxed) >= vain_spins_before_sleeping_at_once;
  const bool spins = spins_ && (!was_vain || generation % waits_between_trials == 0);
  if (spins) {
    const auto end = std::chrono::steady_clock::now() + longest_spin;
    do {
      for (int i = 0; i < pauses_between_looks_at_the_clock; ++i) {
        if (generation_.load(std::memory_order_acquire) != generation) {
          vain_spins_.store(0, std::memory_order_relaxed);
          return;
        }
        pause_core();
      }
    } while (std::chrono::steady_clock::now() < end);
    vain_spins_.store(vain_spins_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Not std::atomic::wait, which yields before it sleeps: on a busy machine whoever yields waits
  // for all other processes to have their turn, whoever sleeps is run soon after being woken.
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (generation_.load(std::memory_order_seq_cst) == generation) {
    sleep_while(generation_, generation);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

ThreadTeam::ThreadTeam(int thread_count) : thread_count_(thread_count), barrier_(thread_count) {}

Expected<std::unique_ptr<ThreadTeam>> ThreadTeam::start(int thread_count) {
  if (thread_count < 1 || thread_count > largest_thread_count) {
    return Failure{ExitCode::usage,
                   fmt::format("the number of threads must be 1 to {}, not {}",
                               largest_thread_count, thread_count),
                   {}};
  }
  std::unique_ptr<ThreadTeam> team(new ThreadTeam(thread_count));
  team->threads_.reserve(static_cast<size_t>(thread_count - 1));
  std::string refusal;
  for (int thread = 1; thread < thread_count; ++thread) {
    // The one place where the standard library can only answer by throwing.
    try {
      team->threads_.emplace_back([team = team.get(), thread] { team->work(thread); });
    } catch (const std::system_error& error) {
      refusal = fmt::format("cannot start thread {} of {}: {}", thread + 1, thread_count,
                            error.code().message());
      break;
    }
  }
  if (!refusal.empty()) {
    team->given_up_.store(true, std::memory_order_relaxed);
  }
  team->ready_.store(true, std::memory_order_release);
  team->ready_.notify_all();
  if (!refusal.empty()) return Failure{ExitCode::device, refusal, {}};
  return team;
}

ThreadTeam::~ThreadTeam() {
  if (!given_up_.load(std::memory_order_relaxed)) {
    body_ = nullptr;
    barrier_.wait();
  }
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(const std::function<void(int, int)>& body) {
  RUNTIME_CHECK(!running_.exchange(true), "a team runs one body at a time");
  body_ = &body;
  barrier_.wait();
  body(0, thread_count_);
  barrier_.wait();
  running_.store(false);
}

void ThreadTeam::work(int thread) {
  // A team that is not complete must not enter the barrier: it would wait for ever.
  ready_.wait(false, std::memory_order_acquire);
  if (given_up_.load(std::memory_order_relaxed)) return;
  while (true) {
    barrier_.wait();
    if (body_ == nullptr) return;
    (*body_)(thread, thread_count_);
    barrier_.wait();
  }
}

}  // namespace fusegrad::runtime
