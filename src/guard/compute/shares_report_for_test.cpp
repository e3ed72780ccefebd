// Prints the table of requested and achieved shares (docs/guard-compute.md):
//     guard_compute_report [--svg FILE] [--seed N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "guard/compute/scenarios_for_test.h"
#include "guard/compute/shares_plot_for_test.h"

using namespace egpu::guard;

namespace {

void print(const Scenario& scenario, const Outcome& outcome) {
    std::string work;
    for (std::size_t i = 0; i < scenario.tenants.size(); ++i) {
        const std::string& name = scenario.tenants[i].work.name;
        if (work.find(name) == std::string::npos) work += (work.empty() ? "" : " beside ") + name;
    }
    std::printf("| %s | %s |", work.c_str(), scenario.name.c_str());
    for (std::size_t i = 0; i < outcome.achieved.size(); ++i) {
        std::printf("%s%.1f", i == 0 ? " " : " / ", 100 * outcome.achieved[i]);
    }
    double worst = 0;
    for (const double one : outcome.worst) worst = std::max(worst, one);
    std::printf(
        " | %.1f (%d s) |\n", 100 * worst, static_cast<int>(outcome.window_ns / 1'000'000'000)
    );
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seed = 1;
    std::string svg;
    for (int i = 1; i < argc; i += 2) {
        const std::string option = argv[i];
        char* end = nullptr;
        if (i + 1 < argc && option == "--seed") {
            seed = std::strtoull(argv[i + 1], &end, 10);
            if (*argv[i + 1] != '\0' && *end == '\0') continue;
        } else if (i + 1 < argc && option == "--svg") {
            svg = argv[i + 1];
            continue;
        }
        std::fprintf(stderr, "%s: use [--svg FILE] [--seed NUMBER]\n", option.c_str());
        return 2;
    }
    if (!svg.empty()) {
        std::FILE* file = std::fopen(svg.c_str(), "w");
        const std::string picture = shares_over_time();
        if (file == nullptr || std::fputs(picture.c_str(), file) < 0 || std::fclose(file) != 0) {
            std::fprintf(stderr, "%s: cannot be written\n", svg.c_str());
            return 1;
        }
    }
    std::printf(
        "| kernels | asked, %% | achieved, %% | worst window, points |\n| --- | --- | --- | --- |\n"
    );
    const std::string soft = "\n" + soft_numbers();
    for (const Scenario& scenario : alone()) print(scenario, run(scenario, seed));
    for (const Scenario& scenario : contended()) print(scenario, run(scenario, seed));
    std::fputs(soft.c_str(), stdout);
    return 0;
}
