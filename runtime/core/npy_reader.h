// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads NPY files, and NPZ archives of them, as NumPy writes them.
//
// NPY (numpy.org/doc/stable/reference/generated/numpy.lib.format.html): bytes 93 `NUMPY`, two bytes
// of version, the header's length (little endian, 2 bytes in version 1, 4 in 2 and 3), the header:
// a dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and spaces; then the
// elements. NPZ: a zip archive with a member NAME.npy for each array.
#pragma once

#include <string>

#include "runtime/core/column.h"
#include "runtime/core/content_stream.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

/// Reads one array. Accepts element types |b1, |u1, <i4, <f4 and <f8, C order, 1 to 8 dimensions, a
/// header of at most 64 KiB. Refuses everything else by name, with file, position, what was
/// expected and what was found: Fortran order, other types, objects (nothing of them is looked at),
/// sizes that do not multiply to the file's length, a `bool` that is neither 0 nor 1. The file may
/// be gzipped.
Expected<Column, DataFailure> read_npy(ContentStream& stream, const ReadLimits& limits = {});
Expected<Column, DataFailure> read_npy(const InputFile& file, const ReadLimits& limits = {});

/// Reads the array `name` of an archive, stored or deflated. The whole archive's directory is
/// checked; of the other members nothing is unpacked. A missing name is answered with those there
/// are.
Expected<Column, DataFailure> read_npz(const InputFile& file, const std::string& name,
                                       const ReadLimits& limits = {});

}  // namespace fusegrad::runtime
