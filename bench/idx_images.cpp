// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The benchmark's own reader: what it compares the product with must not run through the product.
#include "bench/idx_images.h"

#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <memory>

namespace fusegrad::bench {
namespace {

// Enough for 2^31 pixels of whatever shape; a benchmark has no use for more.
constexpr uint64_t largest_file = uint64_t{1} << 31;

struct GzCloser {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

/// The bytes after the header, and the extents in it. zlib reads plain files as they are.
struct IdxFile {
  std::vector<int64_t> extents;
  std::vector<uint8_t> bytes;
};

std::optional<IdxFile> read_idx(const std::filesystem::path& path, size_t rank) {
  std::filesystem::path chosen = path;
  if (!std::filesystem::exists(chosen)) chosen += ".gz";
  const std::unique_ptr<gzFile_s, GzCloser> file(gzopen(chosen.c_str(), "rb"));
  if (!file) return std::nullopt;

  const auto read_exactly = [&file](void* target, size_t size) {
    auto* bytes = static_cast<uint8_t*>(target);
    while (size > 0) {
      const auto piece = static_cast<unsigned>(std::min<size_t>(size, 1u << 30));
      const int count = gzread(file.get(), bytes, piece);
      if (count <= 0) return false;
      bytes += count;
      size -= static_cast<size_t>(count);
    }
    return true;
  };

  uint8_t magic[4];
  if (!read_exactly(magic, sizeof magic)) return std::nullopt;
  constexpr uint8_t unsigned_bytes = 8;
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != unsigned_bytes || magic[3] != rank) {
    return std::nullopt;
  }

  IdxFile result;
  uint64_t size = 1;
  for (size_t dimension = 0; dimension < rank; ++dimension) {
    uint8_t digits[4];
    if (!read_exactly(digits, sizeof digits)) return std::nullopt;
    uint32_t extent = 0;
    for (const uint8_t digit : digits) extent = extent << 8 | digit;
    size *= extent;
    if (extent == 0 || size > largest_file) return std::nullopt;
    result.extents.push_back(extent);
  }
  result.bytes.resize(size);
  if (!read_exactly(result.bytes.data(), result.bytes.size())) return std::nullopt;
  return result;
}

bool write_idx(const std::filesystem::path& path, const std::vector<int64_t>& extents,
               const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  std::string header = {0, 0, 8, static_cast<char>(extents.size())};
  for (const int64_t extent : extents) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      header.push_back(static_cast<char>(extent >> shift & 0xff));
    }
  }
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  return file.good();
}

}  // namespace

std::optional<LabelledImages> read_idx_images(const std::filesystem::path& folder) {
  std::optional<IdxFile> images = read_idx(folder / images_file_name, 3);
  std::optional<IdxFile> labels = read_idx(folder / labels_file_name, 1);
  if (!images || !labels || images->extents[0] != labels->extents[0]) return std::nullopt;
  if (std::ranges::any_of(labels->bytes, [](uint8_t label) { return label >= 10; })) {
    return std::nullopt;
  }
  LabelledImages data;
  data.count = images->extents[0];
  data.pixels = images->extents[1] * images->extents[2];
  data.images = std::move(images->bytes);
  data.labels = std::move(labels->bytes);
  return data;
}

LabelledImages made_up_images(int64_t count) {
  LabelledImages data;
  data.count = count;
  data.pixels = 28 * 28;
  data.images.resize(static_cast<size_t>(count * data.pixels));
  data.labels.resize(static_cast<size_t>(count));
  uint64_t state = 1;
  const auto random_byte = [&state] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int>(state >> 56);
  };
  for (int64_t row = 0; row < count; ++row) {
    const int label = random_byte() % 10;
    data.labels[static_cast<size_t>(row)] = static_cast<uint8_t>(label);
    uint8_t* image = data.images.data() + row * data.pixels;
    for (int64_t pixel = 0; pixel < data.pixels; ++pixel) {
      // A fifth of the pixels is lit, more often where the class has its stripe.
      const bool stripe = pixel / 70 == label;
      const int threshold = stripe ? 176 : 208;
      image[pixel] = static_cast<uint8_t>(random_byte() >= threshold ? random_byte() : 0);
    }
  }
  return data;
}

bool write_idx_images(const LabelledImages& data, const std::filesystem::path& folder) {
  return write_idx(folder / images_file_name, {data.count, 28, data.pixels / 28}, data.images) &&
         write_idx(folder / labels_file_name, {data.count}, data.labels);
}

}  // namespace fusegrad::bench
