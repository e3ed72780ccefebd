#include "guard/compute/shares_plot_for_test.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "guard/compute/scenarios_for_test.h"

namespace egpu::guard {

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kStepNs = 200'000'000;
constexpr double kLeft = 46;
constexpr double kWide = 660;
constexpr double kHigh = 150;

struct Line {
    std::string name;
    std::string colour;
    std::vector<double> share;  // of every kStepNs
};

std::string text(double x, double y, const std::string& words, const char* more = "") {
    char buffer[400];
    std::snprintf(
        buffer,
        sizeof buffer,
        "<text x=\"%.1f\" y=\"%.1f\"%s>%s</text>\n",
        x,
        y,
        more,
        words.c_str()
    );
    return buffer;
}

std::string stroke(double x1, double y1, double x2, double y2, const char* colour) {
    char buffer[200];
    std::snprintf(
        buffer,
        sizeof buffer,
        "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\"/>\n",
        x1,
        y1,
        x2,
        y2,
        colour
    );
    return buffer;
}

std::string panel(double top, const std::string& title, const std::vector<Line>& lines) {
    std::string svg = text(kLeft, top - 10, title, " font-weight=\"bold\"");
    for (int percent = 0; percent <= 100; percent += 25) {
        const double y = top + kHigh * (1 - percent / 100.0);
        svg += stroke(kLeft, y, kLeft + kWide, y, "#ddd");
        svg += text(kLeft - 6, y + 4, std::to_string(percent) + " %", " text-anchor=\"end\"");
    }
    const std::size_t steps = lines[0].share.size();
    const double step = kWide / static_cast<double>(steps);
    for (std::size_t i = 0; i <= steps; i += 5) {
        const double x = kLeft + step * static_cast<double>(i);
        svg += stroke(x, top + kHigh, x, top + kHigh + 4, "#888");
        svg += text(x, top + kHigh + 17, std::to_string(i / 5) + " s", " text-anchor=\"middle\"");
    }
    double legend = kLeft + kWide + 10;
    double row = top + 12;
    for (const Line& line : lines) {
        svg += "<path fill=\"none\" stroke-width=\"2\" stroke=\"" + line.colour + "\" d=\"";
        for (std::size_t i = 0; i < steps; ++i) {
            char point[60];
            std::snprintf(
                point,
                sizeof point,
                "%c%.1f %.1f",
                i == 0 ? 'M' : 'L',
                kLeft + step * (static_cast<double>(i) + 0.5),
                top + kHigh * (1 - line.share[i])
            );
            svg += point;
        }
        svg += "\"/>\n" + text(legend, row, line.name, (" fill=\"" + line.colour + "\"").c_str());
        row += 18;
    }
    return svg;
}

Line line_of(
    const VirtualCard& card,
    const Container& container,
    std::uint64_t end,
    const std::string& name,
    const std::string& colour
) {
    Line line{.name = name, .colour = colour, .share = {}};
    for (std::uint64_t t = 0; t < end; t += kStepNs)
        line.share.push_back(card.share(container, t, t + kStepNs));
    return line;
}

// Launches kernels of this cost from `from` to `to` (since the card's start).
std::function<void(App&)> between(std::uint64_t from, std::uint64_t to, std::uint64_t cost_ns) {
    return [=](App& app) {
        const std::uint64_t start = app.now();
        if (from != 0) app.sleep(from);
        while (app.now() < start + to) app.launch({.id = 1, .cost_ns = cost_ns});
    };
}

std::string hard_panel(double top) {
    VirtualCard card;
    Container& first = card.add_container(policy_of(0.3, ComputeMode::kHard));
    Container& second = card.add_container(policy_of(0.7, ComputeMode::kHard));
    card.add_app(card.add_process(first), between(0, 100 * kSecond, 100'000));
    card.add_app(card.add_process(second), between(3 * kSecond, 9 * kSecond, 1'000'000));
    card.run_until(6 * kSecond);
    ComputePolicy policy = first.policy;
    policy.share_ppm = 100'000;
    first.set(policy);
    card.run_until(12 * kSecond);
    return panel(
        top,
        "hard: 30 % of 100 us kernels; 70 % of 1 ms kernels from 3 to 9 s; 30 % becomes 10 % at 6 "
        "s",
        {line_of(card, first, 12 * kSecond, "30 %, then 10 %", "#06c"),
         line_of(card, second, 12 * kSecond, "70 %", "#c50")}
    );
}

constexpr std::uint64_t kComes = 4 * kSecond;
constexpr std::uint64_t kLeaves = 8 * kSecond;
constexpr std::uint64_t kEnd = 12 * kSecond;

// A soft tenant of 30 % and one of 70 % that is there from 4 to 8 s.
struct SoftRun {
    explicit SoftRun(std::uint64_t cost_ns)
        : soft(card.add_container(policy_of(0.3, ComputeMode::kSoft))),
          neighbour(card.add_container(policy_of(0.7, ComputeMode::kHard))) {
        card.add_app(card.add_process(soft), between(0, 100 * kSecond, cost_ns));
        card.add_app(card.add_process(neighbour), between(kComes, kLeaves, cost_ns));
        card.run_until(kEnd);
    }
    // Seconds from `since` until every window of 200 ms up to `until` is right.
    double settled(std::uint64_t since, std::uint64_t until, bool (*right)(double, double)) const {
        std::uint64_t at = since;
        for (std::uint64_t t = since; t + kStepNs <= until; t += VirtualCard::kSampleNs) {
            if (!right(card.share(soft, t, t + kStepNs), card.share(neighbour, t, t + kStepNs)))
                at = t + VirtualCard::kSampleNs;
        }
        return static_cast<double>(at - since) / static_cast<double>(kSecond);
    }
    VirtualCard card;
    Container& soft;
    Container& neighbour;
};

std::string soft_panel(double top) {
    const SoftRun run(300'000);
    return panel(
        top,
        "soft: 30 % takes what is idle and gives it back to 70 % from 4 to 8 s",
        {line_of(run.card, run.soft, kEnd, "soft 30 %", "#06c"),
         line_of(run.card, run.neighbour, kEnd, "70 %", "#c50")}
    );
}

}  // namespace

std::string soft_numbers() {
    std::string table =
        "| soft 30 % beside 70 %, kernels of | alone, % | together, % | given back after, s | "
        "taken "
        "again after, s |\n| --- | --- | --- | --- | --- |\n";
    for (const std::uint64_t cost_us : {100U, 300U, 1'000U, 5'000U}) {
        const SoftRun run(cost_us * 1000);
        char line[200];
        std::snprintf(
            line,
            sizeof line,
            "| %llu us | %.1f | %.1f / %.1f | %.2f | %.2f |\n",
            static_cast<unsigned long long>(cost_us),
            100 * run.card.share(run.soft, kSecond, kComes),
            100 * run.card.share(run.soft, kComes + kSecond, kLeaves),
            100 * run.card.share(run.neighbour, kComes + kSecond, kLeaves),
            run.settled(kComes, kLeaves, [](double, double other) { return other >= 0.67; }),
            run.settled(kLeaves, kEnd, [](double soft, double) { return soft >= 0.95; })
        );
        table += line;
    }
    return table;
}

std::string shares_over_time() {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"850\" height=\"450\" "
           "font-family=\"sans-serif\" font-size=\"12\">\n"
           "<rect width=\"850\" height=\"450\" fill=\"#fff\"/>\n" +
           hard_panel(40) + soft_panel(260) + "</svg>\n";
}

}  // namespace egpu::guard
