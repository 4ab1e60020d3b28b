// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The team: every thread once per region, barriers that hold, no lost wake-up, no starving on a
// busy core.
#include "runtime/core/thread_team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <thread>

namespace fusegrad::runtime {
namespace {

std::unique_ptr<ThreadTeam> team_of(int threads) {
  Expected<std::unique_ptr<ThreadTeam>> team = ThreadTeam::start(threads);
  EXPECT_TRUE(team);
  return std::move(*team);
}

TEST(PartOfTasks, IsTheFormulaAndCoversEverything) {
  for (const int threads : {1, 2, 3, 7, 8}) {
    for (const int64_t tasks : {0, 1, 2, 7, 8, 9, 100, 12345}) {
      int64_t next = 0;
      for (int thread = 0; thread < threads; ++thread) {
        const TaskRange part = part_of_tasks(tasks, thread, threads);
        EXPECT_EQ(part.begin, tasks * thread / threads);
        EXPECT_EQ(part.end, tasks * (thread + 1) / threads);
        EXPECT_EQ(part.begin, next);
        next = part.end;
      }
      EXPECT_EQ(next, tasks);
    }
  }
}

TEST(PartOfTasks, DoesNotOverflow) {
  const int64_t most = INT64_MAX;
  EXPECT_EQ(part_of_tasks(most, 0, 8).begin, 0);
  EXPECT_EQ(part_of_tasks(most, 7, 8).end, most);
  EXPECT_EQ(part_of_tasks(most, 3, 8).end, part_of_tasks(most, 4, 8).begin);
}

class TeamOf : public testing::TestWithParam<int> {};

TEST_P(TeamOf, RunsEveryThreadOncePerRegion) {
  const int threads = GetParam();
  std::unique_ptr<ThreadTeam> team = team_of(threads);
  EXPECT_EQ(team->thread_count(), threads);
  // Plain integers: a data race here is what the thread sanitizer looks for.
  std::vector<int64_t> counts(static_cast<size_t>(threads) * 16, 0);
  constexpr int regions = 100000;
  int64_t before = 0;
  for (int region = 0; region < regions; ++region) {
    before = region;
    team->run([&](int thread, int thread_count) {
      if (thread_count == threads && before == region) ++counts[static_cast<size_t>(thread) * 16];
    });
  }
  for (int thread = 0; thread < threads; ++thread) {
    EXPECT_EQ(counts[static_cast<size_t>(thread) * 16], regions);
  }
}

TEST_P(TeamOf, BarrierSeparatesPhases) {
  const int threads = GetParam();
  std::unique_ptr<ThreadTeam> team = team_of(threads);
  // Each phase every thread writes its place, and after the barrier reads its neighbour's.
  std::vector<int64_t> values(static_cast<size_t>(threads), -1);
  std::atomic<int64_t> wrong = 0;
  team->run([&](int thread, int thread_count) {
    for (int64_t phase = 0; phase < 20000; ++phase) {
      values[static_cast<size_t>(thread)] = phase * thread_count + thread;
      team->barrier();
      const int neighbour = (thread + 1) % thread_count;
      if (values[static_cast<size_t>(neighbour)] != phase * thread_count + neighbour) ++wrong;
      team->barrier();
    }
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST_P(TeamOf, WakesAfterASleep) {
  std::unique_ptr<ThreadTeam> team = team_of(GetParam());
  std::atomic<int> calls = 0;
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    team->run([&](int thread, int) {
      // The last thread comes late, so the others must have gone to sleep and be woken.
      if (thread == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      team->barrier();
      ++calls;
    });
  }
  EXPECT_EQ(calls.load(), 20 * GetParam());
}

INSTANTIATE_TEST_SUITE_P(Threads, TeamOf, testing::Values(1, 2, 3, 8));

TEST(ThreadTeam, RefusesImpossibleNumbers) {
  for (const int threads : {-1, 0, 1025}) {
    Expected<std::unique_ptr<ThreadTeam>> team = ThreadTeam::start(threads);
    ASSERT_FALSE(team);
    EXPECT_EQ(team.error().exit_code, 2);
    EXPECT_NE(team.error().message.find(std::to_string(threads)), std::string::npos);
  }
}

TEST(ThreadTeam, StartsAndEndsWithoutWork) {
  for (int i = 0; i < 200; ++i) team_of(1 + i % 4);
}

TEST(ThreadTeamDeathTest, NestedRegionsAreOurBug) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        std::unique_ptr<ThreadTeam> team = team_of(1);
        team->run([&](int, int) { team->run([](int, int) {}); });
      },
      testing::ExitedWithCode(70), "one body at a time");
}

/// Seconds of `regions` regions of about 20 microseconds of work in all, shared by the threads.
double seconds_of_regions(ThreadTeam& team, int regions) {
  const auto start = std::chrono::steady_clock::now();
  team.run([&](int thread, int thread_count) {
    volatile double sink = 0;
    for (int region = 0; region < regions; ++region) {
      const TaskRange part = part_of_tasks(16, thread, thread_count);
      for (int64_t task = part.begin; task < part.end; ++task) {
        double value = static_cast<double>(task);
        for (int i = 0; i < 300; ++i) value = value * 0.999 + 1.0;
        sink = value;
      }
      team.barrier();
    }
    (void)sink;
  });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(ThreadTeam, TwoThreadsOnOneCoreAreNotThreeTimesSlower) {
#if defined(FUSEGRAD_SANITIZED)
  GTEST_SKIP() << "a sanitizer changes what the barrier costs";
#endif
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    CPU_SET(cpu, &one);
    break;
  }
  // The teams count their cores first, as when another process takes one away later.
  std::unique_ptr<ThreadTeam> single = team_of(1);
  std::unique_ptr<ThreadTeam> pair = team_of(2);
  pair->run([&](int, int) { sched_setaffinity(0, sizeof one, &one); });
  double best_ratio = 1e9;
  for (int attempt = 0; attempt < 10 && !(best_ratio < 3); ++attempt) {
    const double alone = seconds_of_regions(*single, 3000);
    const double both = seconds_of_regions(*pair, 3000);
    best_ratio = std::min(best_ratio, both / alone);
  }
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_LT(best_ratio, 3);
  RecordProperty("ratio", std::to_string(best_ratio));
}

}  // namespace
}  // namespace fusegrad::runtime
