// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The epoch loop with kernels written by hand, against the same training in plain loops, bit for
// bit.
#include "runtime/core/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/core/shuffle.h"
#include "tests/runtime/linear_job.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

struct Running {
  std::unique_ptr<ThreadTeam> team;
  std::unique_ptr<Session> session;
};

Running start(const JobTable& job, int threads) {
  Running running;
  running.team = std::move(*ThreadTeam::start(threads));
  Expected<std::unique_ptr<Session>> session = Session::create(job, *running.team);
  EXPECT_TRUE(session);
  running.session = std::move(*session);
  return running;
}

template <typename T>
std::vector<T> buffer_values(const Session& session, BufferKind kind, const std::string& name) {
  for (const NamedBuffer& buffer : session.buffers(kind)) {
    if (buffer.name != name) continue;
    const std::vector<std::byte> bytes = natural_elements(buffer);
    return values_of<T>(bytes.data(), static_cast<int64_t>(bytes.size()));
  }
  ADD_FAILURE() << "no buffer " << name;
  return {};
}

std::vector<float> weights(const Session& session) {
  std::vector<float> result = buffer_values<float>(session, BufferKind::parameter, "model.w");
  result.push_back(buffer_values<float>(session, BufferKind::parameter, "model.b").at(0));
  return result;
}

/// Equal as bits: NaN equals itself, 0 does not equal -0.
std::vector<uint32_t> bits(const std::vector<float>& values) {
  std::vector<uint32_t> result;
  for (const float value : values) result.push_back(std::bit_cast<uint32_t>(value));
  return result;
}

TrainSettings settings_of(int64_t batch, LastBatch last, bool shuffle = true, int64_t seed = 3) {
  TrainSettings settings;
  settings.batch = batch;
  settings.epochs = 3;
  settings.seed = seed;
  settings.shuffle = shuffle;
  settings.last = last;
  return settings;
}

struct Case {
  int64_t samples;
  int64_t batch;
  LastBatch last;
  bool shuffle;
};

class SessionOf : public testing::TestWithParam<Case> {};

TEST_P(SessionOf, TrainsLikePlainLoopsOnAnyNumberOfThreads) {
  const Case& c = GetParam();
  const TrainSettings settings = settings_of(c.batch, c.last, c.shuffle);
  const JobTable job = linear_job(settings, c.samples);
  const LinearData data(c.samples);
  const Split split = data.split();

  // The oracle: means of every epoch and the final weights.
  LinearModel model(settings.seed);
  std::vector<double> losses;
  std::vector<double> nears;
  std::vector<double> eval_losses;
  int64_t visited = 0;
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    std::vector<int32_t> order(static_cast<size_t>(c.samples));
    std::iota(order.begin(), order.end(), 0);
    if (c.shuffle) shuffled_rows(settings.seed, epoch, order);
    double loss_sum = 0;
    double near_sum = 0;
    visited = 0;
    for (int64_t begin = 0; begin < c.samples; begin += c.batch) {
      const int64_t end = std::min(begin + c.batch, c.samples);
      if (end - begin < c.batch && c.last == LastBatch::drop) break;
      const std::vector<int32_t> rows(order.begin() + begin, order.begin() + end);
      const std::vector<float> error = model.errors(data, rows);
      loss_sum += static_cast<double>(LinearModel::loss(error)) * static_cast<double>(rows.size());
      near_sum += LinearModel::near(error) * static_cast<double>(rows.size());
      visited += end - begin;
      model.step(data, rows);
    }
    losses.push_back(loss_sum / static_cast<double>(visited));
    nears.push_back(near_sum / static_cast<double>(visited));
    double eval_sum = 0;
    for (int64_t begin = 0; begin < c.samples; begin += 7) {
      std::vector<int32_t> rows;
      for (int64_t i = begin; i < std::min(begin + 7, c.samples); ++i)
        rows.push_back(static_cast<int32_t>(i));
      eval_sum += static_cast<double>(LinearModel::loss(model.errors(data, rows))) *
                  static_cast<double>(rows.size());
    }
    eval_losses.push_back(eval_sum / static_cast<double>(c.samples));
  }
  std::vector<float> expected = model.w;
  expected.push_back(model.b);

  for (const int threads : {1, 2, 3, 8}) {
    Running running = start(job, threads);
    Session& session = *running.session;
    session.initialise();
    EXPECT_EQ(buffer_values<int32_t>(session, BufferKind::state, "log")[0], 77);  // init's uniforms
    for (int64_t epoch = 1; epoch <= 3; ++epoch) {
      const PassResult result = session.train_epoch(split, epoch, 3);
      EXPECT_EQ(result.samples, visited);
      EXPECT_EQ(result.steps, Session::steps_per_epoch(settings, c.samples));
      EXPECT_FALSE(result.interrupted);
      EXPECT_FALSE(result.non_finite);
      EXPECT_EQ(result.loss, losses[epoch - 1]);
      ASSERT_EQ(result.metrics.size(), 1U);
      EXPECT_EQ(result.metrics[0].label, "near");
      EXPECT_EQ(result.metrics[0].value, nears[epoch - 1]);
      const PassResult judged = session.evaluate(split, epoch);
      EXPECT_EQ(judged.samples, c.samples);  // the short batch always counts
      EXPECT_EQ(judged.loss, eval_losses[epoch - 1]);
    }
    EXPECT_EQ(bits(weights(session)), bits(expected)) << threads << " threads";
    EXPECT_EQ(bits(buffer_values<float>(session, BufferKind::state, "model.w.momentum")),
              bits(model.v));
    // Every sample once an epoch; with `drop` some are left out.
    const std::vector<int32_t> visits =
        buffer_values<int32_t>(session, BufferKind::state, "visits");
    EXPECT_EQ(std::accumulate(visits.begin(), visits.end(), int64_t{0}), 3 * visited);
    EXPECT_LE(*std::max_element(visits.begin(), visits.end()), 3);
    // The uniforms of every step.
    const std::vector<int32_t> log = buffer_values<int32_t>(session, BufferKind::state, "log");
    const int64_t steps = Session::steps_per_epoch(settings, c.samples);
    for (int64_t step = 1; step <= 3 * steps; ++step) {
      const int64_t in_epoch = (step - 1) % steps;
      const std::vector<int32_t> line(log.begin() + step * 6, log.begin() + step * 6 + 6);
      const std::vector<int32_t> wanted = {
          static_cast<int32_t>(std::min(c.batch, c.samples - in_epoch * c.batch)),
          static_cast<int32_t>(step),
          static_cast<int32_t>((step - 1) / steps + 1),
          static_cast<int32_t>(3 * steps),
          static_cast<int32_t>(settings.seed),
          1};
      EXPECT_EQ(line, wanted);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Data, SessionOf,
    testing::Values(Case{64, 16, LastBatch::drop, true}, Case{64, 16, LastBatch::keep, false},
                    Case{65, 16, LastBatch::drop, true}, Case{65, 16, LastBatch::keep, true},
                    Case{79, 16, LastBatch::drop, false}, Case{79, 16, LastBatch::keep, true},
                    Case{5, 16, LastBatch::keep, true}, Case{1, 1, LastBatch::drop, true},
                    Case{200, 33, LastBatch::keep, true}),
    [](const testing::TestParamInfo<Case>& parameter) {
      const Case& c = parameter.param;
      return fmt::format("{}By{}{}{}", c.samples, c.batch,
                         c.last == LastBatch::keep ? "Keep" : "Drop",
                         c.shuffle ? "Shuffled" : "InOrder");
    });

TEST(Session, StepsPerEpoch) {
  EXPECT_EQ(Session::steps_per_epoch(settings_of(128, LastBatch::drop), 60000), 468);
  EXPECT_EQ(Session::steps_per_epoch(settings_of(128, LastBatch::keep), 60000), 469);
  EXPECT_EQ(Session::steps_per_epoch(settings_of(128, LastBatch::drop), 100), 0);
  EXPECT_EQ(Session::steps_per_epoch(settings_of(128, LastBatch::keep), 100), 1);
  EXPECT_EQ(Session::steps_per_epoch(settings_of(100, LastBatch::keep), 100), 1);
}

TEST(Session, NonFiniteLossStopsWithinTheStep) {
  const TrainSettings settings = settings_of(4, LastBatch::keep, false);
  const JobTable job = linear_job(settings, 400);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    LinearData data(400);
    data.y[30] = bad;  // in step 8 of 100
    for (const int threads : {1, 2, 8}) {
      Running running = start(job, threads);
      running.session->initialise();
      const PassResult result = running.session->train_epoch(data.split(), 1, 3);
      ASSERT_TRUE(result.non_finite);
      EXPECT_EQ(result.non_finite->epoch, 1);
      EXPECT_EQ(result.non_finite->step, 8);
      EXPECT_FALSE(is_finite(result.non_finite->value));
      EXPECT_LE(result.steps, threads == 1 ? 8 : 9);
      EXPECT_FALSE(result.interrupted);
      EXPECT_EQ(running.session->non_finite_parameter(), "model.b");  // by name
    }
  }
}

TEST(Session, NonFiniteLossInTheLastStepIsSeen) {
  const JobTable job = linear_job(settings_of(4, LastBatch::keep, false), 10);
  LinearData data(10);
  data.y[9] = NAN;
  for (const int threads : {1, 2}) {
    Running running = start(job, threads);
    running.session->initialise();
    const PassResult result = running.session->train_epoch(data.split(), 1, 1);
    ASSERT_TRUE(result.non_finite);
    EXPECT_EQ(result.non_finite->step, 3);
  }
}

TEST(Session, StopSignalEndsBetweenSteps) {
  const JobTable job = linear_job(settings_of(2, LastBatch::keep, false), 1000);
  const LinearData data(1000);
  for (const int threads : {1, 2, 3}) {
    const StopSignal stop = 2;
    PassControls controls;
    controls.stop = &stop;
    Running running = start(job, threads);
    running.session->initialise();
    const PassResult result = running.session->train_epoch(data.split(), 1, 1, controls);
    EXPECT_TRUE(result.interrupted);
    EXPECT_EQ(result.steps, threads == 1 ? 1 : 2);
    // What was done is whole steps: the same weights as from the oracle.
    LinearModel model(3);
    for (int32_t step = 0; step < result.steps; ++step) model.step(data, {2 * step, 2 * step + 1});
    std::vector<float> expected = model.w;
    expected.push_back(model.b);
    EXPECT_EQ(bits(weights(*running.session)), bits(expected));
    EXPECT_EQ(running.session->steps_done(), result.steps);
  }
}

TEST(Session, ProgressIsReportedNowAndThen) {
  const JobTable job = linear_job(settings_of(1, LastBatch::keep, false), 20000);
  const LinearData data(20000);
  Running running = start(job, 2);
  running.session->initialise();
  PassControls controls;
  int64_t calls = 0;
  int64_t last = 0;
  controls.progress = [&](const PassProgress& progress) {
    ++calls;
    EXPECT_EQ(progress.steps, 20000);
    EXPECT_GT(progress.steps_done, last);
    last = progress.steps_done;
    EXPECT_TRUE(is_finite(progress.loss));
  };
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t epoch = 1; epoch <= 2; ++epoch, last = 0) {
    running.session->train_epoch(data.split(), epoch, 2, controls);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LE(static_cast<double>(calls), seconds * 10 + 1);
}

// One launch a step: nothing but the two copies of the results keeps the next step's loss, written
// at once by another thread, away from thread 0, which still reads.
TEST(Session, ResultsOfTwoStepsDoNotMeet) {
  const KernelFunction idle = [](void* const*, const Uniforms*, int64_t, int64_t) {};
  const KernelFunction write_step = [](void* const* buffers, const Uniforms* uniforms, int64_t,
                                       int64_t) {
    // Slowly, so that a reader can come in between.
    volatile float* loss = static_cast<float*>(buffers[0]);
    *loss = -1e6F;
    *loss = static_cast<float>(uniforms->step);
  };
  JobTable job;
  job.settings.batch = 1;
  ProgramTable program;
  program.name = "train";
  program.buffers = {{"loss", BufferKind::result, ElementType::f32, natural_layout({}), 0}};
  program.results = {{ResultKind::loss, "loss", 0}};
  LaunchEntry launch;
  launch.kernels = {{"idle", idle, {}}, {"loss", write_step, {}}};
  program.launches = {launch};
  job.programs = {program};
  constexpr int64_t steps = 5000;
  Split split;
  split.name = "train";
  split.samples = steps;
  for (const int threads : {1, 2, 3}) {
    Running running = start(job, threads);
    const PassResult result = running.session->train_epoch(split, 1, 1);
    EXPECT_EQ(result.steps, steps);
    EXPECT_EQ(result.loss, (steps + 1) / 2.0) << threads;
  }
}

TEST(Session, ParametersAreSharedByNameAndRestoredNaturally) {
  const JobTable job = linear_job(settings_of(4, LastBatch::keep), 8);
  Running running = start(job, 1);
  const std::vector<NamedBuffer> parameters = running.session->buffers(BufferKind::parameter);
  ASSERT_EQ(parameters.size(), 2U);
  EXPECT_EQ(parameters[0].name, "model.b");
  EXPECT_EQ(parameters[1].name, "model.w");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(parameters[1].data) % 64, 0U);
  EXPECT_EQ(weights(*running.session), std::vector<float>(6, 0.0F));  // before init
  const std::vector<float> values = {1, 2, 3, 4, 5};
  const auto bytes = std::as_bytes(std::span(values));
  store_natural_elements(parameters[1], {bytes.begin(), bytes.end()});
  EXPECT_EQ(buffer_values<float>(*running.session, BufferKind::parameter, "model.w"), values);
  const LinearData data(8);
  const PassResult before = running.session->evaluate(data.split(), 1);
  EXPECT_EQ(running.session->evaluate(data.split(), 1).loss, before.loss);
  running.session->initialise();
  EXPECT_NE(running.session->evaluate(data.split(), 1).loss, before.loss);
}

TEST(Session, PaddingMayHoldAnything) {
  const JobTable job = linear_job(settings_of(4, LastBatch::keep), 8);
  Running running = start(job, 1);
  const NamedBuffer buffer = running.session->buffers(BufferKind::parameter)[1];
  const float bad = NAN;
  std::memcpy(buffer.data + 7 * 4, &bad, 4);
  EXPECT_EQ(running.session->non_finite_parameter(), std::nullopt);
  std::memcpy(buffer.data + 4 * 4, &bad, 4);
  EXPECT_EQ(running.session->non_finite_parameter(), "model.w");
}

TEST(IsFinite, TestsBits) {
  for (const double value : {0.0, -0.0, 1.0, 1e308, 5e-324}) EXPECT_TRUE(is_finite(value));
  for (const double value : {double{INFINITY}, -double{INFINITY}, double{NAN}}) {
    EXPECT_FALSE(is_finite(value));
    EXPECT_FALSE(is_finite(static_cast<float>(value)));
  }
  EXPECT_TRUE(is_finite(3.4e38F));
  EXPECT_TRUE(is_finite(std::numeric_limits<float>::denorm_min()));
}

TEST(SessionDeathTest, TablesThatContradictThemselvesAreOurBug) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const JobTable good = linear_job(settings_of(4, LastBatch::keep), 8);
  const auto create = [](const JobTable& job) {
    std::unique_ptr<ThreadTeam> team = std::move(*ThreadTeam::start(1));
    (void)Session::create(job, *team);
  };
  JobTable job = good;
  job.programs[0].buffers[0].layout.block = 8;
  EXPECT_EXIT(create(job), testing::ExitedWithCode(70), "programs disagree about model.w");
  job = good;
  job.programs[1].arena_bytes = 64;
  EXPECT_EXIT(create(job), testing::ExitedWithCode(70), "temporary error at 64 of 64");
  job = good;
  job.programs[1].buffers[0].layout.shape = {6};
  EXPECT_EXIT(create(job), testing::ExitedWithCode(70), "no input of the job");
  job = good;
  job.programs[1].results[0].buffer = 3;
  EXPECT_EXIT(create(job), testing::ExitedWithCode(70), "result loss of program train");
  job = good;
  job.programs[2].launches[0].kernels[0].function = nullptr;
  EXPECT_EXIT(create(job), testing::ExitedWithCode(70), "kernel errors has no code");
}

TEST(Session, MemoryThatIsNotThereIsNamed) {
  JobTable job = linear_job(settings_of(4, LastBatch::keep), 8);
  job.programs[1].buffers.push_back({"huge.w", BufferKind::parameter, ElementType::f32,
                                     natural_layout({int64_t{1} << 30, int64_t{1} << 25}), 0});
  std::unique_ptr<ThreadTeam> team = std::move(*ThreadTeam::start(1));
  Expected<std::unique_ptr<Session>> session = Session::create(job, *team);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().exit_code, 8);
  EXPECT_NE(session.error().message.find("`huge.w`, f32[1073741824, 33554432]"), std::string::npos)
      << session.error().message;
}

}  // namespace
}  // namespace fusegrad::runtime
