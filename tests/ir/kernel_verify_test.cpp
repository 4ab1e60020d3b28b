// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The verifier of K: a good step passes, and every rule has a program that breaks it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/kernel/parse.h"
#include "ir/kernel/verify.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

KernelModule module(const std::string& programs) {
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<KernelModule> parsed = parse_kernel_module(
      sources, sources.add("p.kernels", "stage kernels\n" + programs), diagnostics);
  EXPECT_TRUE(parsed.has_value()) << render(diagnostics, sources);
  return parsed.value_or(KernelModule{{KernelProgram{}}});
}

KernelProgram program(const std::string& lines) {
  return module("program p batch 8 {\n" + lines + "\n}\n").programs.at(0);
}

void expect_good(const std::string& lines) {
  EXPECT_THAT(verify(program(lines)), IsEmpty()) << lines;
}

void expect_violation(const std::string& lines, const std::string& message) {
  EXPECT_THAT(verify(program(lines)), ElementsAre(HasSubstr(message))) << lines;
}

/// A launch with one kernel over rows b.
std::string launch(const std::string& statements, const std::string& schedule = "") {
  static int number = 0;
  return "launch { kernel k" + std::to_string(number++) + " rows(b in 0..rows) " + schedule +
         " {\n" + statements + "\n} }\n";
}

constexpr const char* good_step = R"(
  input image: u8[rows, 28, 28]
  input label: u8[rows] in 0..10
  param w: f32[784, 10] packed 0 by 8
  param c: f32[10]
  state w.v: f32[784, 10]
  result objective: f32[]
  result hits: i32[]
  buffer g: f32[rows, 10] at 0
  buffer nll: f32[rows] at 320
  buffer best: i32[rows] at 384
  arena 448
  launch {
    kernel k0 rows(b in 0..rows) schedule(tile b 8, vector b 8, lanes i 8, unroll o 10) {
      local l[o in 0..10]: f32 = sum(i in 0..784: f32(image[b, i // 28, i % 28]) * w[i, o]) 
      local lc[p in 0..10]: f32 = l[p] + c[p]
      local m: f32 = max(o2 in 0..10: lc[o2])
      local e[o3 in 0..10]: f32 = exp(lc[o3] - m)
      local z: f32 = sum(o4 in 0..10: e[o4])
      out best[b]: i32 = argmax(o6 in 0..10: lc[o6])
      out nll[b]: f32 = m + log(z) - lc[label[b]]
      out g[b, o5 in 0..10]: f32 = (if label[b] == o5 then -1.0 else 0.0) + e[o5] / z
    }
  }
  launch {
    kernel k1 rows(i in 0..784, o in 0..10) schedule(unroll o 5) {
      local d: f32 = sum(b in 0..rows: f32(image[b, i // 28, i % 28]) * g[b, o])
      local v: f32 = 0.9 * w.v[i, o] + d
      inplace w.v[i, o]: f32 = v
      inplace w[i, o]: f32 = w[i, o] - 0.1 * v
    }
    kernel k2 rows() {
      out objective: f32 = sum(r in 0..rows: nll[r] + c[best[r]])
    }
    kernel k3 rows() {
      out hits: i32 = sum(r in 0..rows: if best[r] == label[r] then 1 else 0)
    }
  }
  result loss = objective
  result output hits = hits
)";

TEST(KernelVerify, ASoftmaxRegressionStepIsGood) { expect_good(good_step); }

TEST(KernelVerify, NamesAndIndices) {
  KernelProgram bad = program(good_step);
  bad.launches[1].kernels[0].name = "k0";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("a kernel of that name exists")));
  bad.launches[1].kernels[0].name = "k 0";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`k 0` is not a valid name")));
  bad = program(good_step);
  bad.buffers[3].name = "w";
  EXPECT_THAT(verify(bad), Contains(HasSubstr("a buffer of that name exists")));
  const std::string x = "buffer x: f32[rows]\n";
  expect_violation(x + launch("local x: f32 = 1.0 out x[b]: f32 = 2.0"),
                   "the local has a buffer's name");
  expect_violation(x + launch("local l[i in 0..3]: f32 = 1.0 local m[i in 0..3]: f32 = l[i] "
                              "out x[b]: f32 = m[0]"),
                   "two indices are called `i`");
  bad = program(x + launch("local l: f32 = 1.0 local m: f32 = 1.0 out x[b]: f32 = l"));
  bad.launches[0].kernels[0].statements[1].name = "l";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("the local is defined twice")));
  std::swap(bad.launches[0].kernels[0].statements[1], bad.launches[0].kernels[0].statements[2]);
  bad.launches[0].kernels[0].statements[0].name = "n";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("there is no tensor `l` before this statement")));
}

TEST(KernelVerify, Buffers) {
  expect_violation("input x: f32[4]", "of an input the first size is `rows`");
  expect_violation("input x: f32[]", "an input of rank 0");
  expect_violation("param x: f32[rows]", "a parameter or state depends on rows");
  expect_violation("param x: f32[0]", "a size of `x` is not positive");
  expect_violation("input x: u8[rows] in 0..300", "a range that is empty, leaves the type");
  expect_violation("input x: f32[rows, 8] packed 1 by 8", "inputs and results are not packed");
  expect_violation(
      "result x: f32[8] packed 0 by 8 launch { kernel k rows(i in 0..8) { "
      "out x[i]: f32 = 1.0 } }",
      "inputs and results are not packed");
  KernelProgram bad = program("param x: f32[8] packed 0 by 8");
  bad.buffers[0].packed_dimension = 1;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("packed by a dimension or block")));
  bad.buffers[0].packed_dimension = 0;
  bad.buffers[0].packed_block = 0;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("packed by a dimension or block")));
}

TEST(KernelVerify, StatementsKeepTheRulesOfT) {
  const std::string x = "buffer x: f32[rows]\n";
  expect_violation(x + launch("out x[b]: f32 = 1"), "a value of type i64 for elements of f32");
  expect_violation("input y: f32[rows, 3]\n" + x + launch("out x[b]: f32 = y[b, 3]"),
                   "index `3` may be 3 to 3, but dimension 1 of `y` is 0..3");
  expect_violation("param y: f32[4]\n" + x + launch("out x[b]: f32 = y[b]"),
                   "index `b` may be 0 to 7, but dimension 0 of `y` is 0..4");
  expect_good("param y: f32[4]\n" + x + launch("out x[b]: f32 = if b < 4 then y[b] else 0.0"));
  expect_violation(x + launch("local l[i in 0..3]: f32 = 1.0 out x[b]: f32 = l[b]"),
                   "index `b` may be 0 to 7, but dimension 0 of `l` is 0..3");
  EXPECT_THAT(verify(program(x + launch("out x[b]: f32 = sum(b in 0..2: 1.0)"))),
              Contains(HasSubstr("the binder `b` hides an index")));
  // Values of locals and of buffers are known.
  expect_good("param y: f32[4]\n" + x +
              launch("local k: i32 = argmax(i in 0..4: y[i]) out x[b]: f32 = y[k]"));
  expect_violation("param y: f32[4] param z: f32[3]\n" + x +
                       launch("local k: i32 = argmax(i in 0..4: y[i]) out x[b]: f32 = z[k]"),
                   "index `k` may be 0 to 3");
}

TEST(KernelVerify, EveryElementIsStoredOnce) {
  const std::string two = "kernel k rows(b in 0..rows, o in 0..10)";
  expect_good("buffer x: f32[10, rows] launch { " + two + " { out x[o, b]: f32 = 1.0 } }");
  expect_violation("buffer x: f32[rows] launch { " + two + " { out x[b]: f32 = 1.0 } }",
                   "every value of the row `o` stores the same elements");
  expect_violation("buffer x: f32[rows, 9] launch { " + two + " { out x[b, o]: f32 = 1.0 } }",
                   "`o` runs to 10, but dimension 1 has 9 elements");
  expect_violation(
      "buffer x: f32[rows, rows] launch { kernel k rows(b in 0..rows) { "
      "out x[b, b]: f32 = 1.0 } }",
      "the row `b` stands twice on the left");
  expect_violation(
      "buffer x: f32[rows, 4] launch { kernel k rows(b in 0..rows) { "
      "out x[b, i in 0..3]: f32 = 1.0 } }",
      "`i` runs to 3, but dimension 1 has 4 elements");
  expect_violation(
      "buffer x: f32[8] launch { kernel k rows(b in 0..rows) { "
      "out x[b]: f32 = 1.0 } }",
      "`b` runs to rows, but dimension 0 has 8 elements");
  expect_violation(
      "buffer x: f32[rows] launch { kernel k rows(b in 0..rows) { "
      "out x[b, i in 0..3]: f32 = 1.0 } }",
      "the buffer has rank 1");
  expect_violation("buffer x: f32[rows]" + launch("out x[b]: i32 = 1"),
                   "the buffer has elements of f32");
  KernelProgram bad = program("buffer x: f32[rows]" + launch("out x[b]: f32 = 1.0"));
  bad.launches[0].kernels[0].statements[0].indices[0].range.name = "c";
  EXPECT_THAT(verify(bad), Contains(HasSubstr("there is no row index `c`")));
  bad = program("buffer x: f32[rows]" + launch("local l: f32 = 1.0 out x[b]: f32 = l"));
  bad.launches[0].kernels[0].statements[0].indices = {{true, {"b", 0, Extent::number(1)}}};
  EXPECT_THAT(verify(bad), Contains(HasSubstr("a local has a row index on its left side")));
}

TEST(KernelVerify, WhoStoresWhat) {
  expect_violation("buffer x: f32[rows]", "nothing stores `x`");
  expect_violation("result x: f32[rows]", "nothing stores `x`");
  expect_violation(
      "buffer x: f32[rows]" + launch("out x[b]: f32 = 1.0") + launch("out x[b]: f32 = 2.0"),
      "`x` is stored by two statements");
  expect_violation("param x: f32[4] launch { kernel k rows(i in 0..4) { out x[i]: f32 = 1.0 } }",
                   "`out` stores to param");
  expect_violation("input x: f32[rows]" + launch("out x[b]: f32 = 1.0"), "`out` stores to input");
  expect_violation("buffer x: f32[rows]" + launch("inplace x[b]: f32 = 1.0"),
                   "`inplace` stores to buffer");
  KernelProgram bad = program("buffer x: f32[rows]" + launch("out x[b]: f32 = 1.0"));
  bad.launches[0].kernels[0].statements[0].name = "y";
  EXPECT_THAT(verify(bad), Contains(HasSubstr("there is no buffer `y`")));
  expect_violation(launch("local l: f32 = 1.0"), "stores nothing");
}

TEST(KernelVerify, ReadsOfWhatIsNotFinished) {
  const std::string buffers = "buffer x: f32[rows] buffer y: f32[rows]\n";
  expect_good(buffers + launch("out x[b]: f32 = 1.0") + launch("out y[b]: f32 = x[b]"));
  expect_violation(buffers + launch("out y[b]: f32 = x[b]") + launch("out x[b]: f32 = 1.0"),
                   "`x` is not finished before this launch");
  expect_violation(buffers +
                       "launch { kernel k rows(b in 0..rows) { out x[b]: f32 = 1.0 } "
                       "kernel j rows(c in 0..rows) { out y[c]: f32 = x[c] } }",
                   "`x` is not finished before this launch");
  expect_violation(buffers + launch("out x[b]: f32 = 1.0 out y[b]: f32 = x[b]"),
                   "`x` is not finished before this launch");
}

TEST(KernelVerify, OldValues) {
  const std::string head = "param w: f32[4, 3] result y: f32[4, 3]\n";
  const auto update = [](const std::string& statements) {
    return "launch { kernel u rows(i in 0..4) { " + statements + " } }\n";
  };
  const std::string use =
      "launch { kernel v rows(i in 0..4) { out y[i, j in 0..3]: f32 = w[i, j] } }\n";
  const std::string good = update("inplace w[i, o in 0..3]: f32 = w[i, o] * 2.0");
  expect_good(head + use + good);
  expect_violation(head + good + use, "the old value of `w` is gone");
  expect_violation(head +
                       "launch { kernel v rows(i in 0..4) { out y[i, j in 0..3]: f32 = w[i, j] } "
                       "kernel u rows(k in 0..4) { inplace w[k, o in 0..3]: f32 = 1.0 } }",
                   "`w` is overwritten in this launch by kernel u");
  const std::string only = "param w: f32[4, 3]\n";
  // Within the kernel: its own row before, itself at its own element.
  expect_good(only + update("local t: f32 = sum(p in 0..3: w[i, p]) "
                            "inplace w[i, o in 0..3]: f32 = w[i, o] - t"));
  expect_violation(only + update("local t: f32 = sum(p in 0..3: w[3 - i, p]) "
                                 "inplace w[i, o in 0..3]: f32 = w[i, o] - t"),
                   "`w` is read at another element");
  expect_violation(only + update("inplace w[i, o in 0..3]: f32 = w[i, 2 - o]"),
                   "`w` is read at another element");
  expect_violation(only + update("inplace w[i, o in 0..3]: f32 = sum(p in 0..3: w[i, p])"),
                   "an in-place reduction reads what it overwrites");
  expect_violation(
      "param w: f32[4] param v: f32[4] launch { kernel u rows(i in 0..4) { "
      "inplace w[i]: f32 = 1.0 inplace v[i]: f32 = w[i] } }",
      "the old value of `w` is gone");
}

TEST(KernelVerify, Schedules) {
  const std::string x = "buffer x: f32[rows, 4]\n";
  const std::string statements =
      "local l[i in 0..4]: f32 = sum(k in 0..9: f32(k)) local m: f32 = max(n in 0..4: l[n]) "
      "out x[b, o in 0..4]: f32 = l[o] - m";
  const auto schedule = [&](const std::string& attributes) {
    return x + launch(statements, "schedule(" + attributes + ")");
  };
  expect_good(schedule("tile b 16, vector b 8, unroll b 2, unroll i 4, lanes k 8"));
  expect_violation(schedule("vector b 8"), "does not divide the tile of `b`, which is 1");
  expect_violation(schedule("tile b 12, vector b 8"), "does not divide the tile of `b`");
  expect_violation(schedule("tile b 6, vector b 6"), "is not 2, 4, 8, ... 64");
  expect_violation(schedule("tile b 128, vector b 128"), "is not 2, 4, 8, ... 64");
  expect_violation(schedule("lanes k 3"), "is not 2, 4, 8, ... 64");
  expect_violation(schedule("vector o 4"), "there is no index for `vector o 4`");
  EXPECT_THAT(verify(program(schedule("tile b 9223372036854775807"))),
              Contains(HasSubstr("side by side, more than 4096")));
  EXPECT_THAT(verify(program(schedule("tile b 4096"))), ElementsAre());
  expect_violation(schedule("tile b 1024, unroll o 1000"), "write 1024000 elements of `x`");
  expect_violation(schedule("tile i 4"), "there is no index for `tile i 4`");
  expect_violation(schedule("tile z 4"), "there is no index for `tile z 4`");
  expect_violation(schedule("vector k 4"), "there is no index for `vector k 4`");
  expect_violation(schedule("unroll k 4"), "there is no index for `unroll k 4`");
  expect_violation(schedule("lanes n 4"), "there is no index for `lanes n 4`");
  expect_violation(schedule("lanes i 4"), "there is no index for `lanes i 4`");
  expect_violation(schedule("tile b 4, tile b 8"), "`tile b 8` stands twice");
  KernelProgram bad = program(schedule("tile b 4"));
  bad.launches[0].kernels[0].schedule[0].amount = 0;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`tile b 0` of kernel")));
}

TEST(KernelVerify, Memory) {
  const std::string launches = launch("out x[b]: f32 = 1.0") + launch("out y[b]: f32 = x[b]") +
                               launch("out z[b]: f32 = y[b]");
  const auto buffers = [&](const std::string& x, const std::string& y, const std::string& z,
                           const std::string& arena) {
    return "buffer x: f32[rows] " + x + " buffer y: f32[rows] " + y + " buffer z: f32[rows] " + z +
           " arena " + arena + "\n" + launches;
  };
  expect_good(buffers("at 0", "at 64", "at 0", "128"));
  expect_good(buffers("", "", "", "0"));
  expect_violation(buffers("at 0", "at 0", "at 64", "128"),
                   "`x` and `y` share bytes while both are in use");
  expect_violation(buffers("at 0", "at 64", "at 64", "128"),
                   "`y` and `z` share bytes while both are in use");
  expect_violation(buffers("at 0", "at 64", "", "128"), "some temporaries have a position");
  expect_violation(buffers("at 0", "at 64", "at 0", "95"),
                   "`y` at 64 ends behind the arena of 95 bytes");
  KernelProgram bad = program(buffers("at 0", "at 64", "at 128", "256"));
  bad.buffers[0].offset = 32;
  EXPECT_THAT(verify(bad), Contains(HasSubstr("a multiple of 64")));
  bad.buffers[0].offset = -64;
  EXPECT_THAT(verify(bad), Contains(HasSubstr("a multiple of 64")));
  bad = program("param w: f32[4]");
  bad.buffers[0].offset = 0;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("only temporaries have a position")));
  // The padding of a packed buffer counts.
  expect_violation(
      "buffer x: f32[4] packed 0 by 32 at 0 arena 64 launch { kernel k rows(i in 0..4) {"
      " out x[i]: f32 = 1.0 } }",
      "`x` at 0 ends behind the arena");
}

TEST(KernelVerify, Results) {
  const std::string head =
      "result a: f32[] result v: f32[rows] buffer t: f32[]\n"
      "launch { kernel k rows() { out a: f32 = 1.0 out t: f32 = 1.0 } }" +
      launch("out v[b]: f32 = 1.0");
  expect_good(head + "result loss = a result metric m = a result output v = v");
  expect_violation(head + "result loss = t", "there is no result buffer `t`");
  expect_violation(head + "result loss = nothing", "there is no result buffer `nothing`");
  expect_violation(head + "result metric m = v", "`v` is not a single real");
  expect_violation(head + "result loss = a result loss = a", "there are two results of that name");
}

TEST(KernelVerify, ProgramsShareParameters) {
  const auto two = [](const std::string& first, const std::string& second) {
    return verify(module("program a batch 2 { param w: " + first +
                         " }\nprogram b batch 4 { param w: " + second + " }\n"));
  };
  EXPECT_THAT(two("f32[8] packed 0 by 8", "f32[8] packed 0 by 8"), IsEmpty());
  EXPECT_THAT(two("f32[8] packed 0 by 8", "f32[8]"),
              ElementsAre("`w` of program b is laid out otherwise than in a"));
  EXPECT_THAT(two("f32[8]", "f32[9]"),
              ElementsAre("`w` of program b is laid out otherwise than in a"));
  KernelModule same = module("program a batch 2 { }");
  same.programs.push_back(same.programs[0]);
  EXPECT_THAT(verify(same), ElementsAre("the program name `a` is taken or not valid"));
}

TEST(KernelVerifyDeathTest, AViolationEndsTheProcessAndShowsTheProgram) {
  check_verified(program(good_step), "grouping");
  const KernelProgram bad = program("buffer x: f32[rows]");
  EXPECT_EXIT(check_verified(bad, "grouping"), ::testing::ExitedWithCode(internal_error_exit_code),
              "after grouping(.|\n)*nothing stores `x`(.|\n)*program p batch 8");
}

}  // namespace
}  // namespace fusegrad::ir
