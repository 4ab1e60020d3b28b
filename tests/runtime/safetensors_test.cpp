// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights survive full disks and kills; damaged or hostile files are refused with one line.
#include "runtime/core/safetensors.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/runtime/linear_job.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
NamedTensor tensor(const std::string& name, ElementType element, std::vector<int64_t> shape,
                   const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {name, element, std::move(shape), {bytes.begin(), bytes.end()}};
}

std::vector<NamedTensor> some_tensors() {
  return {tensor<float>("dense.w", ElementType::f32, {2, 3}, {1, 2, 3, 4, 5, -0.0F}),
          tensor<float>("dense.b", ElementType::f32, {3}, {7, 8, 9}),
          tensor<double>("scale", ElementType::f64, {}, {0.5}),
          tensor<uint8_t>("table", ElementType::u8, {3}, {1, 2, 255}),
          tensor<int32_t>("empty", ElementType::i32, {0, 4}, {})};
}

std::string length_bytes(uint64_t length) { return {reinterpret_cast<const char*>(&length), 8}; }

/// A file with this header and that much data.
std::string file_of(const std::string& header, size_t data) {
  return length_bytes(header.size()) + header + std::string(data, '\x01');
}

class Safetensors : public testing::Test {
 protected:
  std::string refusal(const std::string& bytes, const WeightsLimits& limits = {}) {
    Expected<WeightsFile> weights = read_safetensors(memory_file(bytes), limits);
    if (weights) return "read";
    EXPECT_EQ(weights.error().exit_code, 7);
    EXPECT_EQ(weights.error().message.find('\n'), std::string::npos);
    return weights.error().message;
  }
  std::string refused_header(const std::string& header, size_t data = 4) {
    return refusal(file_of(header, data));
  }

  TemporaryFolder folder;
};

TEST_F(Safetensors, ComesBackAsItWas) {
  const std::string path = folder / "w.safetensors";
  ASSERT_TRUE(write_safetensors(path, some_tensors(), {{"model", "mlp \"x\" ü\n"}}));
  EXPECT_THAT(folder.names(), ElementsAre("w.safetensors"));
  Expected<WeightsFile> weights = read_safetensors(path);
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->metadata, (Metadata{{"format", "pt"}, {"model", "mlp \"x\" ü\n"}}));
  ASSERT_EQ(weights->tensors.size(), 5U);
  for (const NamedTensor& expected : some_tensors()) {
    const NamedTensor* found = weights->find(expected.name);
    ASSERT_NE(found, nullptr) << expected.name;
    EXPECT_EQ(found->element, expected.element);
    EXPECT_EQ(found->shape, expected.shape);
    EXPECT_EQ(found->bytes, expected.bytes);
  }
  EXPECT_EQ(weights->find("dense"), nullptr);
}

TEST_F(Safetensors, FileIsTheFormat) {
  // Judged by a JSON library and the format's description, not by our reader.
  const std::string path = folder / "w";
  ASSERT_TRUE(write_safetensors(path, some_tensors()));
  const std::string bytes = file_content(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  const json header = json::parse(bytes.substr(8, length));
  json metadata = header["__metadata__"];
  EXPECT_EQ(metadata["fusegrad.checksum"].get<std::string>().size(), 8U);
  metadata.erase("fusegrad.checksum");
  EXPECT_EQ(metadata, (json{{"format", "pt"}}));
  EXPECT_EQ(header["dense.w"]["dtype"], "F32");
  EXPECT_EQ(header["dense.w"]["shape"], (json{2, 3}));
  EXPECT_EQ(header["scale"]["shape"], json::array());
  const auto begin = header["dense.w"]["data_offsets"][0].get<size_t>();
  EXPECT_EQ(header["dense.w"]["data_offsets"][1].get<size_t>(), begin + 24);
  EXPECT_EQ(
      values_of<float>(reinterpret_cast<const std::byte*>(bytes.data() + 8 + length + begin), 24),
      (std::vector<float>{1, 2, 3, 4, 5, -0.0F}));
  EXPECT_EQ(bytes.size(), 8 + length + 24 + 12 + 8 + 3);
  // Sorted by name, so that equal weights make equal files.
  EXPECT_LT(bytes.find("dense.b"), bytes.find("dense.w"));
  std::vector<NamedTensor> reversed = some_tensors();
  std::reverse(reversed.begin(), reversed.end());
  ASSERT_TRUE(write_safetensors(folder / "r", reversed));
  EXPECT_EQ(file_content(folder / "r"), bytes);
}

TEST_F(Safetensors, NonFiniteWeightsAreNotWritten) {
  write_file(folder / "w", "old");
  for (const float bad : {NAN, INFINITY}) {
    Expected<Unit> written =
        write_safetensors(folder / "w", {tensor<float>("w", ElementType::f32, {2}, {1, bad})});
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().exit_code, 6);
    EXPECT_THAT(written.error().message,
                HasSubstr("parameter `w` holds a value that is not finite"));
  }
  EXPECT_EQ(file_content(folder / "w"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("w"));
}

TEST_F(Safetensors, AFullDeviceIsSaid) {
  Expected<Unit> written = write_safetensors("/dev/full", some_tensors());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().exit_code, 7);
  EXPECT_EQ(written.error().message,
            "cannot write the weights `/dev/full`: No space left on device");
  struct stat status = {};
  ASSERT_EQ(stat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));  // it has not been replaced
}

TEST_F(Safetensors, AFullDiskKeepsTheOldFileAndLeavesNoOther) {
  const std::string path = folder / "w";
  write_file(path, "old weights");
  // Every limit below the file's size fails in another call.
  ASSERT_TRUE(write_safetensors(folder / "size", some_tensors()));
  const auto size = static_cast<rlim_t>(file_content(folder / "size").size());
  std::filesystem::remove(folder / "size");
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  for (rlim_t limit = 0; limit < size; limit += 7) {
    const rlimit low = {limit, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    Expected<Unit> written = write_safetensors(path, some_tensors());
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(written) << limit;
    EXPECT_EQ(written.error().exit_code, 7);
    EXPECT_EQ(written.error().message, "cannot write the weights `" + path + "`: File too large");
    EXPECT_EQ(file_content(path), "old weights");
    EXPECT_THAT(folder.names(), ElementsAre("w"));
  }
  EXPECT_TRUE(write_safetensors(path, some_tensors()));
  EXPECT_TRUE(read_safetensors(path));
}

TEST_F(Safetensors, AFolderThatMayNotBeWrittenIsFoundBefore) {
  std::filesystem::create_directory(folder / "locked");
  std::filesystem::permissions(
      folder / "locked", std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  // The superuser may write everywhere: become somebody else for the check.
  const uid_t user = geteuid();
  if (user == 0) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  Expected<Unit> usable = check_save_target(folder / "locked/w");
  Expected<Unit> written = write_safetensors(folder / "locked/w", some_tensors());
  if (user == 0) {
    ASSERT_EQ(seteuid(0), 0);
  }
  for (const Expected<Unit>& result : {usable, written}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().exit_code, 7);
    EXPECT_THAT(result.error().message, HasSubstr("Permission denied"));
  }
}

TEST_F(Safetensors, TargetsThatAreNoFilesAreRefused) {
  const auto message = [](const std::string& path) {
    Expected<Unit> usable = check_save_target(path);
    return usable ? "usable" : usable.error().message;
  };
  EXPECT_EQ(message(folder / "new"), "usable");
  EXPECT_THAT(message(folder / "absent/w"), HasSubstr("No such file or directory"));
  EXPECT_THAT(message(folder.path()), HasSubstr("it is a folder"));
  EXPECT_THAT(message(folder / "w/"), HasSubstr("name of a folder"));
  EXPECT_THAT(message(""), HasSubstr("no file name"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(folder / "pipe"), HasSubstr("it is a named pipe"));
  write_file(folder / "file", "");
  EXPECT_THAT(message(folder / "file/w"), HasSubstr("Not a directory"));
}

TEST_F(Safetensors, ALinkIsFollowedAndPermissionsAreKept) {
  std::filesystem::create_directory(folder / "real");
  write_file(folder / "real/w", "old");
  ASSERT_EQ(chmod((folder / "real/w").c_str(), 0600), 0);
  std::filesystem::create_symlink("real/w", folder / "link");
  ASSERT_TRUE(write_safetensors(folder / "link", some_tensors()));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_TRUE(read_safetensors(folder / "real/w"));
  struct stat status = {};
  ASSERT_EQ(stat((folder / "real/w").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(Safetensors, AKillAtAnyMomentLeavesAWholeFile) {
  const std::string path = folder / "w";
  const auto big = [](float value) {
    return std::vector<NamedTensor>{
        tensor<float>("w", ElementType::f32, {50000}, std::vector<float>(50000, value))};
  };
  ASSERT_TRUE(write_safetensors(path, big(0)));
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (float value = 1;; value += 1) {
        if (!write_safetensors(path, big(value))) _exit(1);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + 731 * round));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    Expected<WeightsFile> weights = read_safetensors(path);
    ASSERT_TRUE(weights) << weights.error().message;
    const std::vector<float> values = values_of<float>(weights->tensors[0].bytes.data(), 200000);
    EXPECT_EQ(values, std::vector<float>(50000, values[0]));
  }
}

TEST_F(Safetensors, ReaderNamesWhatIsWrong) {
  EXPECT_THAT(refusal(""), HasSubstr("expected 8 bytes of header length, found 0"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("found 7"));
  EXPECT_THAT(refusal(length_bytes(3) + "{}"), HasSubstr("at most 2 bytes, found a length of 3"));
  EXPECT_THAT(refusal(length_bytes(~uint64_t{0}) + "{}"),
              HasSubstr("found a length of 18446744073709551615"));
  EXPECT_THAT(refusal(length_bytes(0)), HasSubstr("expected {"));
  EXPECT_THAT(refused_header(" {}", 0), HasSubstr("byte 0 of the header: expected {"));
  EXPECT_THAT(refused_header("{} x", 0), HasSubstr("nothing but spaces"));
  EXPECT_THAT(refused_header("{}", 4), HasSubstr("4 bytes belong to no tensor"));
  EXPECT_EQ(refused_header("{}", 0), "read");
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  EXPECT_EQ(refused_header("{\"a\":{" + good + "}}"), "read");
  EXPECT_EQ(refused_header("{ \"a\" : {" + good +
                           " } , \"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}"),
            "read");
  EXPECT_THAT(refused_header("{\"a\":{" + good + "},\"a\":{" + good + "}}"),
              HasSubstr("`a` appears twice"));
  EXPECT_THAT(refused_header("{\"a\":{" + good + R"(,"shape":[1]}})"),
              HasSubstr("`shape` appears twice"));
  EXPECT_THAT(refused_header("{\"a\":{" + good + R"(,"x":1}})"), HasSubstr("unknown key `x`"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[1]}})"),
              HasSubstr("lacks dtype, shape or two"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})"),
              HasSubstr("expected dtype BOOL, U8, I32, F32 or F64, found `F16`"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})"),
              HasSubstr("F32[2] does not take the 4 bytes"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})"),
              HasSubstr("expected a whole number"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})"),
              HasSubstr("expected ,"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}})"),
              HasSubstr("expected a whole number"));
  EXPECT_THAT(
      refused_header(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})"),
      HasSubstr("at most 8 numbers"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})"),
              HasSubstr("to at most 4"));
  EXPECT_THAT(refused_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})"),
              HasSubstr("found 4 to 0"));
  EXPECT_THAT(refused_header(R"({"a":[1]})"), HasSubstr("expected {"));
  EXPECT_THAT(refused_header(R"({"a":null})"), HasSubstr("expected {"));
  EXPECT_THAT(refused_header("{\"a\xff\":{" + good + "}}"), HasSubstr("expected UTF-8"));
  EXPECT_THAT(refused_header("{\"a\n\":{" + good + "}}"), HasSubstr("control character"));
  EXPECT_THAT(refused_header(R"({"\ud800":{)" + good + "}}"), HasSubstr("low surrogate"));
  EXPECT_THAT(refused_header(R"({"\x":{)" + good + "}}"), HasSubstr("unknown escape"));
  EXPECT_THAT(refused_header(R"({"__metadata__":{"a":1}})", 0), HasSubstr("expected \""));
  EXPECT_THAT(refused_header(R"({"__metadata__":{"a":"1","a":"2"}})", 0),
              HasSubstr("`a` appears twice"));
}

TEST_F(Safetensors, HolesAndOverlapsAreRefused) {
  const auto header = [](int a_begin, int a_end, int b_begin, int b_end) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},)"
                       R"("b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       a_end - a_begin, a_begin, a_end, b_end - b_begin, b_begin, b_end);
  };
  EXPECT_EQ(refused_header(header(0, 2, 2, 4)), "read");
  EXPECT_EQ(refused_header(header(2, 4, 0, 2)), "read");  // any order
  EXPECT_THAT(refused_header(header(0, 2, 3, 4)), HasSubstr("expected data from byte 2"));
  EXPECT_THAT(refused_header(header(0, 3, 2, 4)), HasSubstr("expected data from byte 3"));
  EXPECT_THAT(refused_header(header(0, 4, 0, 4)), HasSubstr("expected data from byte 4"));
  EXPECT_THAT(refused_header(header(1, 2, 2, 4)), HasSubstr("expected data from byte 0"));
  EXPECT_THAT(refused_header(header(0, 2, 2, 3)), HasSubstr("1 bytes belong to no tensor"));
}

TEST_F(Safetensors, SizesThatMultiplyBadlyAreRefused) {
  const std::vector<std::string> extents = {"0",
                                            "1",
                                            "2",
                                            "65536",
                                            "4294967296",
                                            "4611686018427387904",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "18446744073709551615"};
  int read = 0;
  for (const std::string& a : extents) {
    for (const std::string& b : extents) {
      for (const std::string& c : extents) {
        for (const size_t data : {size_t{0}, size_t{8}}) {
          const std::string header =
              fmt::format(R"({{"a":{{"dtype":"F32","shape":[{},{},{}],"data_offsets":[0,{}]}}}})",
                          a, b, c, data);
          const bool accepted = refused_header(header, data) == "read";
          const long double product = 4 * std::stold(a) * std::stold(b) * std::stold(c);
          const bool zero_but_absurd = product == 0 && data == 0;
          if (!zero_but_absurd) {
            EXPECT_EQ(accepted, product == static_cast<long double>(data)) << header;
          }
          read += accepted ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(read, 3);
}

TEST_F(Safetensors, EveryTruncationAndHeaderChangeIsRefusedOrConsistent) {
  const std::string path = folder / "good";
  ASSERT_TRUE(write_safetensors(path, some_tensors()));
  const std::string good = file_content(path);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(refusal(good.substr(0, size)), "read") << size;
  }
  EXPECT_NE(refusal(good + "x"), "read");
  const size_t data = good.size() - 47;
  for (size_t position = 0; position < good.size(); ++position) {
    for (int change = 1; change < 256; change += position < data ? 1 : 50) {
      std::string changed = good;
      changed[position] = static_cast<char>(changed[position] ^ change);
      Expected<WeightsFile> weights = read_safetensors(memory_file(changed));
      if (!weights) continue;
      // Then the tensors still cover the data exactly.
      size_t bytes = 0;
      for (const NamedTensor& read : weights->tensors) bytes += read.bytes.size();
      ASSERT_EQ(bytes, 47U);
      ASSERT_EQ(weights->tensors.size(), 5U);
    }
  }
}

TEST_F(Safetensors, EscapesInNamesAreDecoded) {
  const std::string header =
      R"({"\u0061\/\"\\\b\f\n\r\t\u00fc\u20ac\ud83d\ude00":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  write_file(folder / "w", file_of(header, 4));
  Expected<WeightsFile> weights = read_safetensors(folder / "w");
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->tensors[0].name, json::parse(header).begin().key());
}

TEST_F(Safetensors, LimitsHold) {
  WeightsLimits limits;
  limits.largest_header = 10;
  EXPECT_THAT(refusal(file_of(R"({"__metadata__":{}})", 0), limits), HasSubstr("at most 10 bytes"));
  limits = {};
  limits.largest_bytes = 3;
  EXPECT_THAT(
      refusal(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4), limits),
      HasSubstr("the limit is 3"));
}

TEST_F(Safetensors, SessionParametersGoOutAndComeBack) {
  TrainSettings settings;
  settings.batch = 4;
  settings.seed = 5;
  JobTable job = linear_job(settings, 8);
  std::unique_ptr<ThreadTeam> team = std::move(*ThreadTeam::start(1));
  std::unique_ptr<Session> session = std::move(*Session::create(job, *team));
  session->initialise();
  ASSERT_TRUE(write_safetensors(folder / "w", parameters_of(*session)));
  Expected<WeightsFile> weights = read_safetensors(folder / "w");
  ASSERT_TRUE(weights);
  // Its program eval has all states: log, model.b, model.w, model.w.momentum, visits.
  ASSERT_EQ(weights->tensors.size(), 5U);
  EXPECT_EQ(weights->tensors[1].name, "model.b");
  EXPECT_EQ(weights->tensors[4].name, "visits");
  const NamedTensor& w = weights->tensors[2];
  EXPECT_EQ(w.shape, (std::vector<int64_t>{5}));  // natural, though packed in memory
  EXPECT_EQ(values_of<float>(w.bytes.data(), 20), (LinearModel(5).w));

  // A state that evaluation does not know is no part of the model.
  JobTable without_eval = job;
  std::erase_if(without_eval.programs,
                [](const ProgramTable& program) { return program.name == "eval"; });
  std::unique_ptr<Session> bare = std::move(*Session::create(without_eval, *team));
  EXPECT_EQ(parameters_of(*bare).size(), 2U);

  std::unique_ptr<Session> other = std::move(*Session::create(job, *team));
  ASSERT_TRUE(restore_parameters(*weights, *other));
  EXPECT_EQ(parameters_of(*other)[2].bytes, w.bytes);

  const auto misfit = [&](const std::function<void(WeightsFile&)>& change) {
    WeightsFile changed = *weights;
    change(changed);
    Expected<Unit> restored = restore_parameters(changed, *other);
    if (restored) return std::string("restored");
    EXPECT_EQ(restored.error().exit_code, 7);
    EXPECT_EQ(parameters_of(*other)[2].bytes, w.bytes);
    return restored.error().message;
  };
  EXPECT_THAT(misfit([](WeightsFile& file) { file.tensors.erase(file.tensors.begin() + 2); }),
              HasSubstr("\n  model.w  f32[5]    -"));
  EXPECT_THAT(misfit([](WeightsFile& file) { file.tensors[2].shape = {1, 5}; }),
              HasSubstr("\n  model.w  f32[5]    f32[1, 5]"));
  EXPECT_THAT(misfit([](WeightsFile& file) {
                file.tensors.push_back(tensor<float>("zero", ElementType::f32, {}, {1}));
              }),
              HasSubstr("\n  zero  -         f32"));
}

}  // namespace
}  // namespace fusegrad::runtime
