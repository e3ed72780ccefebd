// A checksum against torn and bit-flipped files, not against forgers. Pure.
#pragma once

#include <string>
#include <string_view>

namespace egpu {

// FNV-1a, 64 bits, as lower-case hexadecimal without leading zeros.
std::string checksum(std::string_view bytes);

}  // namespace egpu
