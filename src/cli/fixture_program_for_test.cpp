// A program with a library of its own, laid out like an unpacked archive: what install is tested
// with.
#include <cstdio>

int fixture_value();

int main() {
    std::printf("fixture %d\n", fixture_value());
    return 0;
}
