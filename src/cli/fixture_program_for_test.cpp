// A program with a library of its own, laid out like an unpacked archive: what install is tested
// with.
#include <cstdio>
#include <cstring>

int fixture_value();

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--refused") != 0) continue;
        std::fprintf(stderr, "unknown flag --refused\n");
        return 2;
    }
    std::printf("fixture %d\n", fixture_value());
    return 0;
}
