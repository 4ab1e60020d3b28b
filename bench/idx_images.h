// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Labelled images in the IDX format, real or made up, for programs that are compared on the same
// files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fusegrad::bench {

inline constexpr const char* images_file_name = "train-images-idx3-ubyte";
inline constexpr const char* labels_file_name = "train-labels-idx1-ubyte";

struct LabelledImages {
  int64_t count = 0;
  int64_t pixels = 0;           ///< of one image
  std::vector<uint8_t> images;  ///< count * pixels
  std::vector<uint8_t> labels;  ///< count, each below 10
};

/// Reads the two training files of `folder`, plain or with the ending ".gz". Nothing if one of them
/// is missing or malformed.
std::optional<LabelledImages> read_idx_images(const std::filesystem::path& folder);

/// `count` images of 28 x 28 with MNIST's share of black pixels, of ten classes that a linear model
/// can mostly, but not wholly, tell apart. Always the same.
LabelledImages made_up_images(int64_t count);

/// Writes the two training files, uncompressed. False if that failed.
bool write_idx_images(const LabelledImages& data, const std::filesystem::path& folder);

}  // namespace fusegrad::bench
