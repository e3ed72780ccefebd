// `main` of a fuzzer in the builds without libFuzzer: every file of the folder goes through the
// target once. So a change that breaks a fuzzer or one of its seeds fails in the build that
// everybody makes.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FOLDER-OF-SEEDS\n", argv[0]);
        return 2;
    }
    std::error_code error;
    std::filesystem::directory_iterator entries(argv[1], error);
    int replayed = 0;
    for (const auto end = std::filesystem::directory_iterator(); !error && entries != end;
         entries.increment(error)) {
        std::ifstream file(entries->path(), std::ios::binary);
        const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
        // The target aborts on what it finds: the last name printed is the seed that did it.
        std::printf("%s: %zu bytes\n", entries->path().c_str(), bytes.size());
        std::fflush(stdout);
        LLVMFuzzerTestOneInput(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
        ++replayed;
    }
    if (error || replayed == 0) {
        std::fprintf(
            stderr,
            "no seeds in %s%s%s\n",
            argv[1],
            error ? ": " : "",
            error ? error.message().c_str() : ""
        );
        return 1;
    }
    return 0;
}
