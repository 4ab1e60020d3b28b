// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions after their expansion, run by L's evaluator: errors in units in the last place against
// long double, over all of f32 in steps (or without gaps if FUSEGRAD_EXHAUSTIVE=1), edges, and what
// the statements around the calls become.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <future>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "ir/loop/evaluate.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"
#include "ir/passes/passes.h"
#include "ir/philox.h"

namespace fusegrad::ir {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

LoopProgram parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("test.loops", text);
  std::optional<LoopModule> module = parse_loop_module(sources, file, diagnostics);
  FG_CHECK(module.has_value(), "{}", render(diagnostics, sources));
  return module->programs.at(0);
}

constexpr int64_t block_elements = 8192;

/// y[i] = VALUE of v = x[i] and w = z[i], all `type`, in vectors of `lanes`. In `value`,
/// `splat(...)` is a number in all lanes.
LoopProgram map_program(std::string value, const std::string& type, int lanes) {
  if (const size_t at = value.find("splat("); at != std::string::npos) {
    value.replace(at, 5, lanes == 1 ? "" : fmt::format("splat{}", lanes));
  }
  const std::string load = lanes == 1 ? "load" : fmt::format("load{}", lanes);
  const std::string parameters = fmt::format(
      "x: ptr<{0}>[{1}], z: ptr<{0}>[{1}], mutable y: ptr<{0}>[{1}]", type, block_elements);
  std::string text = "stage loops\nprogram eval batch 1";
  if (type == "f64") text += " precision f64";
  text += " {\n";
  for (const char* name : {"x", "y", "z"}) {
    text += fmt::format("  buffer {}: {}[{}]\n", name, type, block_elements);
  }
  text += fmt::format("  func f({}) tasks() {{\n", parameters);
  text += fmt::format("    for i = 0 to {} step {} {{\n", block_elements, lanes);
  text += fmt::format("      let v = {} x[i]\n      let w = {} z[i]\n", load, load);
  text += fmt::format("      store y[i] = {}\n    }}\n  }}\n  launch {{ f }}\n}}\n", value);
  return expand_functions(parse(text));
}

/// A function of one or two numbers, expanded and ready to be applied to blocks of numbers.
template <typename T>
class Mapped {
 public:
  explicit Mapped(const std::string& value, int lanes = 8)
      : program_(map_program(value, std::is_same_v<T, float> ? "f32" : "f64", lanes)),
        memory_(program_),
        evaluator_(program_) {}

  static constexpr size_t room = block_elements;

  /// At most `room` numbers.
  std::vector<T> operator()(const std::vector<T>& x, const std::vector<T>& z = {}) {
    std::copy(x.begin(), x.end(), memory_.elements<T>("x").begin());
    std::copy(z.begin(), z.end(), memory_.elements<T>("z").begin());
    Status status = evaluator_.run(memory_.view(), {});
    EXPECT_TRUE(status) << status.error().message;
    auto y = memory_.elements<T>("y");
    return {y.begin(), y.begin() + static_cast<ptrdiff_t>(x.size())};
  }

  T operator()(T x, T z = 0) { return (*this)(std::vector<T>{x}, std::vector<T>{z})[0]; }

 private:
  LoopProgram program_;
  OwnedLoopMemory memory_;
  LoopEvaluator evaluator_;
};

/// The distance of `got` from `exact` in units of the last place that a T near `exact` has.
/// Infinity where one is NaN and the other is not, or where a zero or its sign is wrong.
template <typename T>
double ulp_error(T got, long double exact) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : wrong;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : wrong;
  using Limits = std::numeric_limits<T>;
  const long double beyond = std::ldexp(1.0L, Limits::max_exponent);
  long double value = got;
  if (std::isinf(got)) value = std::copysign(beyond, value);  // what it stands for when rounding
  if (std::fabs(exact) >= beyond) {
    return std::isinf(got) && (got > 0) == (exact > 0) ? 0 : wrong;
  }
  const int exponent = std::max(std::ilogb(exact), Limits::min_exponent - 1);
  const long double unit = std::ldexp(1.0L, exponent - (Limits::digits - 1));
  return static_cast<double>(std::fabs(value - exact) / unit);
}

struct Worst {
  double error = 0;
  double at = 0;
};

void keep_worst(Worst& worst, double error, double at) {
  if (!(error <= worst.error)) worst = {error, at};
}

struct Function {
  const char* text;
  /// In more than the precision that is tested: double for f32, long double for f64.
  std::function<double(double)> exact_f32;
  std::function<long double(long double)> exact_f64;
  double bound_f32;
  double bound_f64;

  template <typename T>
  long double exact(T x) const {
    if constexpr (sizeof(T) == 4) return exact_f32(x);
    return exact_f64(x);
  }
};

template <typename F>
Function function(const char* text, F exact, double bound_f32, double bound_f64) {
  return {text, exact, exact, bound_f32, bound_f64};
}

const std::vector<Function>& functions() {
  static const std::vector<Function> all = {
      function(
          "exp(v)", [](auto x) { return std::exp(x); }, 1.0, 1.0),
      function(
          "log(v)", [](auto x) { return std::log(x); }, 1.0, 1.0),
      function(
          "expm1(v)", [](auto x) { return std::expm1(x); }, 2.0, 2.0),
      function(
          "log1p(v)", [](auto x) { return std::log1p(x); }, 2.0, 2.0),
      function(
          "tanh(v)", [](auto x) { return std::tanh(x); }, 2.0, 2.0),
      function(
          "erf(v)", [](auto x) { return std::erf(x); }, 2.0, 2.0),
      function(
          "sin(v)", [](auto x) { return std::sin(x); }, 2.0, 2.0),
      function(
          "cos(v)", [](auto x) { return std::cos(x); }, 2.0, 2.0),
      function(
          "rsqrt(v)", [](auto x) { return 1 / std::sqrt(x); }, 2.0, 2.0),
      function(
          "v ^ splat(2)", [](auto x) { return x * x; }, 0.51, 0.51),
      function(
          "v ^ splat(3)", [](auto x) { return x * x * x; }, 2.0, 2.0),
      function(
          "v ^ splat(-1)", [](auto x) { return 1 / x; }, 0.51, 0.51),
      function(
          "v ^ splat(0.5)", [](auto x) { return std::pow(x, decltype(x)(0.5)); }, 0.51, 2.0),
      function(
          "v ^ splat(2.5)", [](auto x) { return std::pow(x, decltype(x)(2.5)); }, 0.51, 2.0),
      function(
          "v ^ splat(-1.75)", [](auto x) { return std::pow(x, decltype(x)(-1.75)); }, 0.51, 2.0),
      function(
          "v ^ splat(17)", [](auto x) { return std::pow(x, decltype(x)(17)); }, 0.51, 2.0),
  };
  return all;
}

bool is_angle(const Function& f) { return f.text[0] == 's' || f.text[0] == 'c'; }

/// Results of tests are tables for docs/functions.md.
void report(const std::string& text, const char* type, const Worst& worst) {
  fmt::print("{:16} {}  {:.4f} ulp at {:a}\n", text, type, worst.error, worst.at);
}

/// The worst of every `stride`th f32 with bits in [begin, end).
Worst worst_of_f32(const Function& f, uint64_t begin, uint64_t end, uint64_t stride) {
  Mapped<float> mapped(f.text, stride == 1 ? 64 : 8);
  Worst worst;
  std::vector<float> x;
  for (uint64_t bits = begin; bits < end;) {
    x.clear();
    for (; bits < end && x.size() < mapped.room; bits += stride) {
      x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    }
    const std::vector<float> y = mapped(x);
    for (size_t i = 0; i < x.size(); ++i) {
      keep_worst(worst, ulp_error(y[i], f.exact(x[i])), x[i]);
    }
  }
  return worst;
}

TEST(ExpandFunctions, EveryF32IsWithinItsBound) {
  constexpr uint64_t all = uint64_t{1} << 32;
  const char* environment = std::getenv("FUSEGRAD_EXHAUSTIVE");
  const bool exhaustive = environment != nullptr && std::string(environment) == "1";
  for (const Function& f : functions()) {
    Worst worst;
    if (!exhaustive) {
      worst = worst_of_f32(f, 0, all, 4099);
    } else {
      const uint64_t threads = std::max(1U, std::thread::hardware_concurrency());
      std::vector<std::future<Worst>> parts;
      for (uint64_t i = 0; i < threads; ++i) {
        parts.push_back(std::async(std::launch::async, worst_of_f32, std::cref(f),
                                   all / threads * i,
                                   i + 1 == threads ? all : all / threads * (i + 1), 1));
      }
      for (std::future<Worst>& part : parts) {
        const Worst found = part.get();
        keep_worst(worst, found.error, found.at);
      }
    }
    report(f.text, "f32", worst);
    EXPECT_TRUE(worst.error <= f.bound_f32)
        << f.text << ": " << worst.error << " ulp at " << worst.at;
  }
}

/// Zeros, infinities, NaN, the ends of the subnormal and the normal numbers, and numbers around
/// what the expansions distinguish.
template <typename T>
std::vector<T> edges() {
  using Limits = std::numeric_limits<T>;
  const bool f32 = sizeof(T) == 4;
  std::vector<T> all = {T(0), Limits::infinity(), Limits::quiet_NaN()};
  auto around = [&all](double center) {
    T below = static_cast<T>(center);
    T above = below;
    for (int i = 0; i < 20; ++i) {
      all.push_back(below);
      all.push_back(above);
      below = std::nextafter(below, -Limits::infinity());
      above = std::nextafter(above, Limits::infinity());
    }
  };
  around(0.0);
  around(static_cast<double>(Limits::min()));
  around(static_cast<double>(Limits::max()));
  for (double center : {1.0, 2.0 / 3, 4.0 / 3, 0.5, 2.0, 0.625, 0.875, 4.0, 10.0, 0.75, 1.5,
                        0.34657359028, 0.69314718056, 1.0397207708, 3.14159265359, 1.57079632679,
                        0.78539816339, 65536.0, 16777216.0}) {
    around(center);
  }
  if (f32) {
    for (double center : {88.7228391, 87.3365448, 103.9720770, 104.0, 89.0, 17.3286795, 18.0, 9.01,
                          3.92, 0x1p-25}) {
      around(center);
    }
  } else {
    for (double center : {709.782712893384, 708.396418532264, 745.133219101941, 746.0, 710.0, 37.0,
                          40.0, 19.06, 6.0, 0x1p-54}) {
      around(center);
    }
  }
  const size_t half = all.size();
  for (size_t i = 0; i < half; ++i) all.push_back(-all[i]);
  return all;
}

template <typename T>
void check_edges() {
  for (const Function& f : functions()) {
    Mapped<T> mapped(f.text);
    std::vector<T> x = edges<T>();
    // In f64 angles are followed up to 2^40 only.
    if (sizeof(T) == 8 && is_angle(f)) {
      std::erase_if(x, [](T angle) { return std::fabs(angle) >= T(0x1p40); });
    }
    ASSERT_TRUE(x.size() <= mapped.room);
    const std::vector<T> y = mapped(x);
    const double bound = sizeof(T) == 4 ? f.bound_f32 : f.bound_f64;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = ulp_error(y[i], f.exact(x[i]));
      EXPECT_TRUE(error <= bound) << f.text << " of " << x[i] << " is " << y[i] << ", " << error
                                  << " ulp";
    }
  }
}

TEST(ExpandFunctions, EdgesOfF32) { check_edges<float>(); }
TEST(ExpandFunctions, EdgesOfF64) { check_edges<double>(); }

/// A fixed sequence of bits (splitmix64).
class Bits {
 public:
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// In [low, high).
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_ = 0;
};

TEST(ExpandFunctions, SamplesOfF64AreWithinTheirBound) {
  for (const Function& f : functions()) {
    Mapped<double> mapped(f.text);
    Bits bits;
    Worst worst;
    for (int round = 0; round < 16; ++round) {
      std::vector<double> x;
      while (x.size() < mapped.room) {
        const double any = std::bit_cast<double>(bits.next());
        const double moderate = bits.between(-40, 40);
        // In f64 angles are followed up to 2^40 only.
        x.push_back(round % 2 == 0 ? moderate : is_angle(f) ? std::fmod(any, 0x1p39) : any);
      }
      const std::vector<double> y = mapped(x);
      for (size_t i = 0; i < x.size(); ++i) {
        keep_worst(worst, ulp_error(y[i], f.exact(x[i])), x[i]);
      }
    }
    report(f.text, "f64", worst);
    EXPECT_TRUE(worst.error <= f.bound_f64)
        << f.text << ": " << worst.error << " ulp at " << worst.at;
  }
}

TEST(ExpandFunctions, AnglesInF64BeyondTheirRangeAreNotNumbers) {
  for (const char* text : {"sin(v)", "cos(v)"}) {
    EXPECT_TRUE(std::isnan(Mapped<double>(text)(0x1p40)));
  }
}

TEST(ExpandFunctions, SmallIntegerPowersAreProducts) {
  // Each product rounds once: x^n has at most n - 1 roundings' worth of error.
  for (int n = 2; n <= 16; ++n) {
    Mapped<float> mapped(fmt::format("v ^ splat({})", n));
    std::vector<float> x;
    Bits bits;
    while (x.size() < mapped.room) x.push_back(static_cast<float>(bits.between(-3, 3)));
    const std::vector<float> y = mapped(x);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const long double exact = std::pow(static_cast<long double>(x[i]), n);
      worst = std::max(worst, ulp_error(y[i], exact));
    }
    EXPECT_TRUE(worst <= n - 1) << n << ": " << worst;
  }
}

long double power(long double x, long double y) { return std::pow(x, y); }

TEST(ExpandFunctions, PowersOfSpecialNumbers) {
  const std::vector<double> numbers = {0.0,   -0.0,     1.0,       -1.0, 2.0,        -2.0,
                                       3.0,   -3.0,     0.5,       -0.5, 1.5,        -1.5,
                                       7.0,   -7.0,     1e-3,      -1e3, 16777217.0, 1e30,
                                       -1e30, INFINITY, -INFINITY, NAN,  0.99999994, 1.0000001};
  Mapped<float> f32("v ^ w");
  Mapped<double> f64("v ^ w");
  std::vector<float> xf;
  std::vector<float> yf;
  std::vector<double> x;
  std::vector<double> y;
  for (double base : numbers) {
    for (double exponent : numbers) {
      x.push_back(base);
      y.push_back(exponent);
      xf.push_back(static_cast<float>(base));
      yf.push_back(static_cast<float>(exponent));
    }
  }
  const std::vector<float> zf = f32(xf, yf);
  const std::vector<double> z = f64(x, y);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_TRUE(ulp_error(zf[i], power(xf[i], yf[i])) <= 0.51)
        << xf[i] << " ^ " << yf[i] << " = " << zf[i];
    EXPECT_TRUE(ulp_error(z[i], power(x[i], y[i])) <= 2) << x[i] << " ^ " << y[i] << " = " << z[i];
  }
}

TEST(ExpandFunctions, SampledPowersOfTwoVariables) {
  Mapped<float> f32("v ^ w");
  Mapped<double> f64("v ^ w");
  Bits bits;
  Worst worst_f32;
  Worst worst_f64;
  for (int round = 0; round < 4; ++round) {
    std::vector<float> xf;
    std::vector<float> yf;
    std::vector<double> x;
    std::vector<double> y;
    while (x.size() < f32.room) {
      x.push_back(std::exp(bits.between(-20, 20)));
      y.push_back(bits.between(-30, 30) / std::max(1.0, std::fabs(std::log(x.back())) / 20));
      xf.push_back(static_cast<float>(x.back()));
      yf.push_back(static_cast<float>(y.back()));
    }
    const std::vector<float> zf = f32(xf, yf);
    const std::vector<double> z = f64(x, y);
    for (size_t i = 0; i < x.size(); ++i) {
      keep_worst(worst_f32,
                 ulp_error(zf[i], std::pow(static_cast<long double>(xf[i]),
                                           static_cast<long double>(yf[i]))),
                 xf[i]);
      keep_worst(worst_f64, ulp_error(z[i], power(x[i], y[i])), x[i]);
    }
  }
  report("v ^ w", "f32", worst_f32);
  report("v ^ w", "f64", worst_f64);
  EXPECT_TRUE(worst_f32.error <= 0.51);
  EXPECT_TRUE(worst_f64.error <= 2);
}

TEST(ExpandFunctions, IntegerExponentsThatAreNotConstant) {
  const std::string value = "v ^ i64(w)";
  Mapped<float> mapped(value);
  EXPECT_EQ(mapped(0.9F, 100.0F),
            static_cast<float>(std::pow(static_cast<long double>(0.9F), 100)));
  EXPECT_EQ(mapped(-2.0F, 3.0F), -8.0F);
}

TEST(ExpandFunctions, NumberOfLanesDoesNotChangeBits) {
  Bits bits;
  std::vector<float> x;
  // Angles of all sizes, so that the long reduction runs for some lanes of a vector.
  while (x.size() < Mapped<float>::room) {
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits.next())));
  }
  for (const Function& f : functions()) {
    Mapped<float> scalar(f.text, 1);
    const std::vector<float> one = scalar(x);
    for (int lanes : {2, 8, 16}) {
      Mapped<float> mapped(f.text, lanes);
      const std::vector<float> many = mapped(x);
      size_t different = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const bool equal = std::bit_cast<uint32_t>(one[i]) == std::bit_cast<uint32_t>(many[i]);
        if (!equal && !(std::isnan(one[i]) && std::isnan(many[i]))) ++different;
      }
      EXPECT_EQ(different, 0u) << f.text << " in " << lanes << " lanes";
    }
  }
}

TEST(ExpandFunctions, LanesThatAreNoPowerOfTwo) {
  LoopProgram program = expand_functions(parse(R"(stage loops
program eval batch 1 {
  buffer x: f32[3]
  buffer y: f32[3]
  func f(x: ptr<f32>[3], mutable y: ptr<f32>[3]) tasks() {
    store y[0] = sin(load3 x[0])
  }
  launch { f }
}
)"));
  OwnedLoopMemory memory(program);
  const std::vector<float> x = {1.0F, 1e10F, -1e30F};
  std::copy(x.begin(), x.end(), memory.elements<float>("x").begin());
  ASSERT_TRUE(evaluate(program, memory.view(), {}));
  for (size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::sin(static_cast<long double>(x[i]));
    EXPECT_TRUE(ulp_error(memory.elements<float>("y")[i], exact) <= 2);
  }
}

// ---- Random numbers.

LoopProgram random_program(const std::string& value, const std::string& type) {
  return expand_functions(
      parse(fmt::format(R"(stage loops
program init batch 1{} {{
  buffer y: {}[64]
  func f(mutable y: ptr<{}>[64]) tasks() {{
    for i = 0 to 64 step 8 {{
      let position = splat8(i) + iota8() + splat8(4294967270)
      store y[i] = {}
    }}
  }}
  launch {{ f }}
}}
)",
                        type == "f64" ? " precision f64" : "", type, type, value)));
}

constexpr Uniforms random_uniforms = {1, 0x123456789, 0, 0, 0x0fedcba987654321};
constexpr int64_t first_position = 4294967270;  // the low word overflows on the way

PhiloxBlock words_at(int64_t position, int64_t stream) {
  return random_block(random_uniforms.seed, random_uniforms.step, stream, position);
}

TEST(ExpandFunctions, RandIsPhilox) {
  for (const char* type : {"f32", "f64"}) {
    LoopProgram program = random_program("rand.4294967290(position)", type);
    OwnedLoopMemory memory(program);
    ASSERT_TRUE(evaluate(program, memory.view(), random_uniforms));
    for (int64_t i = 0; i < 64; ++i) {
      const double expected = uniform_number(words_at(first_position + i, 4294967290));
      const auto at = static_cast<size_t>(i);
      const double got = type == std::string("f32") ? memory.elements<float>("y")[at]
                                                    : memory.elements<double>("y")[at];
      EXPECT_EQ(got, expected) << i;
    }
  }
}

TEST(ExpandFunctions, NormalIsBoxMullerOfTwoWords) {
  for (const char* type : {"f32", "f64"}) {
    LoopProgram program = random_program("normal.7(position)", type);
    OwnedLoopMemory memory(program);
    ASSERT_TRUE(evaluate(program, memory.view(), random_uniforms));
    for (int64_t i = 0; i < 64; ++i) {
      const auto words = words_at(first_position + i, 7);
      const long double u = ((words[0] >> 8) + 1) * 0x1p-24L;
      const long double v = (words[1] >> 8) * 0x1p-24L;
      const long double exact =
          std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846264L * v);
      const auto at = static_cast<size_t>(i);
      const double error = type == std::string("f32")
                               ? ulp_error(memory.elements<float>("y")[at], exact)
                               : ulp_error(memory.elements<double>("y")[at], exact);
      EXPECT_TRUE(error <= 4) << i << ": " << error;
    }
  }
}

// ---- The statements around a call.

/// The text of the only function after expansion of a body over x and y of 8 elements.
std::string expanded_text(const std::string& body) {
  const LoopProgram program = expand_functions(parse(R"(stage loops
program eval batch 1 {
  buffer x: f32[8]
  buffer y: f32[8]
  func f(x: ptr<f32>[8], mutable y: ptr<f32>[8]) tasks() {
)" + body + R"(
  }
  launch { f }
}
)"));
  return print(program.functions[0]);
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ExpandFunctions, ProgramsWithoutCallsStayAsTheyAre) {
  EXPECT_EQ(expanded_text(R"(    let a = load x[0]
    for i = 0 to 8 step 1 {
      store y[i] = sqrt(a) + load x[i]
    })"),
            R"(func f(x: ptr<f32>[8], mutable y: ptr<f32>[8]) tasks() {
  let a = load x[0]
  for i = 0 to 8 step 1 {
    store y[i] = sqrt(a) + load x[i]
  }
}
)");
}

TEST(ExpandFunctions, ACallStandsRightBeforeItsStatement) {
  const std::string text = expanded_text(R"(    let a = load x[0]
    for i = 0 to 8 step 1 {
      store y[i] = 1.0 + rsqrt(a + load x[i])
    })");
  EXPECT_EQ(text, R"(func f(x: ptr<f32>[8], mutable y: ptr<f32>[8]) tasks() {
  let a = load x[0]
  for i = 0 to 8 step 1 {
    let x_2 = a + load x[i]
    let rsqrt = 1.0 / sqrt(x_2)
    store y[i] = 1.0 + rsqrt
  }
}
)");
}

TEST(ExpandFunctions, EqualCallsAreWrittenOnce) {
  const std::string text = expanded_text(R"(    let a = load x[0]
    store y[0] = rsqrt(a) + rsqrt(a)
    for i = 1 to 8 step 1 {
      store y[i] = rsqrt(a)
    })");
  EXPECT_EQ(occurrences(text, "sqrt("), 1u) << text;
}

TEST(ExpandFunctions, CallsOfWhatChangesAreNotShared) {
  const std::string text = expanded_text(R"(    var a = load x[0]
    store y[0] = rsqrt(a)
    a = a + 1.0
    store y[1] = rsqrt(a)
    store y[2] = rsqrt(load y[0])
    store y[0] = rsqrt(load y[0]))");
  EXPECT_EQ(occurrences(text, "sqrt("), 4u) << text;
}

TEST(ExpandFunctions, NewNamesAvoidThoseOfTheFunction) {
  const std::string text = expanded_text(R"(    let rsqrt = load x[0]
    let x_2 = rsqrt(rsqrt)
    for rsqrt_2 = 0 to 8 step 1 {
      store y[rsqrt_2] = x_2
    })");
  EXPECT_THAT(text, HasSubstr("let rsqrt_3 = 1.0 / sqrt(rsqrt)"));
}

TEST(ExpandFunctions, CallsInConditionsBoundsAndBranches) {
  const std::string text = expanded_text(R"(    let a = load x[0]
    if rsqrt(a) < 1.0 {
      store y[0] = exp(a)
    } else {
      store y[1] = log(a)
    }
    for i = i64(rand.1(0) * 2.0) to 8 step 1 {
      store y[i] = if a < 0.0 then tanh(a) else a ^ 3
    })");
  for (const char* call : {"rsqrt(", "exp(", "log(", "tanh(", "rand.", "^"}) {
    EXPECT_THAT(text, Not(HasSubstr(call)));
  }
  // Each branch has its own statements.
  const size_t then_at = text.find("if rsqrt");
  const size_t else_at = text.find("else {");
  EXPECT_LT(then_at, text.find("let exp_in")) << text;
  EXPECT_LT(text.find("let exp_in"), else_at) << text;
  EXPECT_LT(else_at, text.find("let log_bits")) << text;
  EXPECT_LT(text.find("let random_product"), text.find("for i =")) << text;
}

}  // namespace
}  // namespace fusegrad::ir
