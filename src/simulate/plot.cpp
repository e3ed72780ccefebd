#include "simulate/plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "simulate/plot_series.h"
#include "simulate/svg.h"

namespace egpu::simulate {
namespace {

// Told apart by people who see colours differently, too (Okabe and Ito), then dashed.
constexpr std::array<std::string_view, 7> kColours{
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"};
constexpr std::string_view kGrid = "#e4e4e4";
constexpr std::string_view kFaint = "#666";

struct CauseStyle {
    const char* name;
    std::string_view colour;
    double core::Causes::*part;
};
// From the bottom up.
constexpr std::array<CauseStyle, 5> kCauses{
    CauseStyle{"usable", "#b7dfc9", &core::Causes::usable},
    CauseStyle{
        "fragment: too little on a card, too few whole cards", "#f2c14e", &core::Causes::shape},
    CauseStyle{"no CPU left", "#c8553d", &core::Causes::cpu},
    CauseStyle{"no memory left", "#8e6c8a", &core::Causes::memory},
    CauseStyle{"model not asked for", "#8da0b6", &core::Causes::model},
};

constexpr double kWidth = 1000;
constexpr double kLeft = 62;
constexpr double kRight = 172;  // for the names at the curves' ends
constexpr double kGap = 70;
constexpr double kTop = 88;
constexpr double kCurveHeight = 330;
constexpr double kCauseHeight = 150;
constexpr double kCauseGap = 58;

std::string_view colour_of(std::size_t series) {
    return kColours[series % kColours.size()];
}

class Picture {
  public:
    Picture(const std::vector<RunResult>& results, const Options& options)
        : options_(options),
          series_(series_of(results)),
          workload_(results.empty() ? "" : results.front().workload),
          svg_(kWidth, height()) {}

    std::string draw() {
        const std::string seeds = std::to_string(options_.seeds.size()) +
                                  (options_.seeds.size() == 1 ? " seed" : " seeds");
        svg_.text({kLeft, 28}, workload_, {18, "#111", Svg::Anchor::kStart, true});
        svg_.text(
            {kLeft, 48},
            subtitle() + seeds + (options_.seeds.size() > 1 ? ", mean and range" : ""),
            {12, kFaint}
        );
        if (series_.empty()) return svg_.take();
        curves();
        causes();
        return svg_.take();
    }

  private:
    std::string subtitle() const {
        return options_.run.departures ? "GPU allocated while pods come and leave; "
                                       : "GPU allocated while pods arrive; ";
    }
    std::string x_title() const {
        return options_.run.departures ? "time, % of the run"
                                       : "GPU asked for so far, % of GPU installed";
    }
    // Three or four panels in a row, whichever leaves fewer holes.
    std::size_t causes_in_row() const {
        const std::size_t n = series_.size();
        return n <= 4 ? n : (n + 3) / 4 * 4 - n < (n + 2) / 3 * 3 - n ? 4 : 3;
    }
    std::size_t cause_rows() const {
        return (series_.size() + causes_in_row() - 1) / causes_in_row();
    }
    double causes_top() const { return kTop + kCurveHeight + 100; }
    double height() const {
        if (series_.empty()) return 80;
        return causes_top() + static_cast<double>(cause_rows()) * (kCauseHeight + kCauseGap) + 14;
    }

    void frame(const Axis& x, const Axis& y, int x_ticks, int y_ticks) {
        for (const double tick : y.ticks(y_ticks)) {
            svg_.line({x.begin, y.at(tick)}, {x.end, y.at(tick)}, {kGrid, 1, {}});
            svg_.text(
                {x.begin - 7, y.at(tick) + 4},
                short_number(tick, 2),
                {11, kFaint, Svg::Anchor::kEnd}
            );
        }
        for (const double tick : x.ticks(x_ticks)) {
            svg_.line({x.at(tick), y.begin}, {x.at(tick), y.begin + 4}, {"#999", 1, {}});
            svg_.text(
                {x.at(tick), y.begin + 17},
                short_number(tick, 2),
                {11, kFaint, Svg::Anchor::kMiddle}
            );
        }
        svg_.line({x.begin, y.begin}, {x.end, y.begin}, {"#999", 1, {}});
    }

    // What lies inside both axes.
    static std::vector<std::pair<double, const Spread*>> inside(
        const Series& series, const Axis& x
    ) {
        std::vector<std::pair<double, const Spread*>> out;
        for (const auto& [at, spread] : series.points) {
            const auto place = static_cast<double>(at);
            if (place >= x.from && place <= x.to) out.emplace_back(place, &spread);
        }
        return out;
    }

    void lines(const Axis& x, const Axis& y) {
        const auto clipped = [&](double value) { return y.at(std::clamp(value, y.from, y.to)); };
        for (std::size_t i = 0; i < series_.size(); ++i) {
            const auto points = inside(series_[i], x);
            std::vector<Point> band;
            band.reserve(2 * points.size());
            for (const auto& [at, spread] : points)
                band.push_back({x.at(at), clipped(spread->low)});
            for (auto it = points.rbegin(); it != points.rend(); ++it) {
                band.push_back({x.at(it->first), clipped(it->second->high)});
            }
            if (options_.seeds.size() > 1) svg_.area(band, colour_of(i), 0.15);
        }
        for (std::size_t i = 0; i < series_.size(); ++i) {
            std::vector<Point> curve;
            for (const auto& [at, spread] : inside(series_[i], x)) {
                if (spread->mean() < y.from) continue;  // still below an enlarged part
                curve.push_back({x.at(at), clipped(spread->mean())});
            }
            svg_.curve(curve, {colour_of(i), 2, i < kColours.size() ? "" : "6 3"});
        }
    }

    double last_x() const {
        long last = 1;
        for (const Series& series : series_) last = std::max(last, series.points.rbegin()->first);
        return static_cast<double>(last);
    }

    void curves() {
        const double half = (kWidth - kLeft - kRight - kGap) / 2;
        const double bottom = kTop + kCurveHeight;
        double highest = 0;
        double lowest = 100;
        for (const Series& series : series_) {
            lowest = std::min(lowest, series.last);
            for (const auto& [at, spread] : series.points) highest = std::max(highest, spread.high);
        }
        const Axis x{0, last_x(), kLeft, kLeft + half};
        const Axis y{0, std::max(10.0, std::ceil(highest / 10) * 10), bottom, kTop};
        frame(x, y, 6, 6);
        if (!options_.run.departures) {
            const double full = std::min(x.to, y.to);
            svg_.line({x.at(0), y.at(0)}, {x.at(full), y.at(full)}, {"#bbb", 1, "3 3"});
            svg_.text(
                {x.at(full * 0.45) - 6, y.at(full * 0.45) - 6},
                "everything placed",
                {11, "#999", Svg::Anchor::kEnd}
            );
        }
        lines(x, y);
        svg_.text({kLeft, kTop - 8}, "GPU allocated, % of GPU installed", {12, kFaint});
        svg_.text({x.begin + half / 2, bottom + 36}, x_title(), {12, kFaint, Svg::Anchor::kMiddle});

        // The end, where the policies part: from a little below the worst to the best.
        const double room = std::max(2.0, highest - lowest);
        const double left = kLeft + half + kGap;
        const double start = options_.run.departures
                                 ? x.to / 3
                                 : std::min(x.to * 0.6, std::max(0.0, lowest - 0.6 * room));
        const Axis zoom_x{start, x.to, left, left + half};
        const Axis zoom_y{std::max(0.0, lowest - 0.6 * room), highest + 0.05 * room, bottom, kTop};
        frame(zoom_x, zoom_y, 5, 8);
        lines(zoom_x, zoom_y);
        svg_.text({left, kTop - 8}, "the end, enlarged", {12, kFaint});
        svg_.text({left + half / 2, bottom + 36}, x_title(), {12, kFaint, Svg::Anchor::kMiddle});
        names(zoom_y, left + half + 8);
    }

    // Each curve's name and last value at its end, apart from each other.
    void names(const Axis& y, double left) {
        struct Label {
            double y;
            std::size_t series;
        };
        constexpr double kApart = 15;
        std::vector<Label> labels;
        for (std::size_t i = 0; i < series_.size(); ++i)
            labels.push_back({y.at(series_[i].last), i});
        std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) {
            return a.y < b.y;
        });
        for (std::size_t i = 1; i < labels.size(); ++i) {
            labels[i].y = std::max(labels[i].y, labels[i - 1].y + kApart);
        }
        // Pushed out at the bottom: back up.
        double floor = y.begin;
        for (auto it = labels.rbegin(); it != labels.rend(); ++it) {
            it->y = std::min(it->y, floor);
            floor = it->y - kApart;
        }
        for (const Label& label : labels) {
            const Series& series = series_[label.series];
            const double from = y.at(series.last);
            svg_.line({left - 6, from}, {left + 4, label.y}, {colour_of(label.series), 1, {}});
            svg_.text(
                {left + 8, label.y + 4},
                series.policy + " " + two_digits(series.last),
                {12, colour_of(label.series), Svg::Anchor::kStart, true}
            );
        }
    }

    static std::string two_digits(double value) {
        std::string text = short_number(value, 2);
        if (text.find('.') == std::string::npos) text += ".00";
        while (text.size() - text.find('.') < 3) text += "0";
        return text;
    }

    // Of the second half of the run: before, nearly everything is free and usable.
    void causes() {
        const double top = causes_top();
        svg_.text(
            {kLeft, top - 30},
            "Free GPU by what keeps the pods that usually arrive from it, % of GPU installed",
            {12, kFaint}
        );
        double x_at = kLeft;
        for (const CauseStyle& style : kCauses) {
            svg_.area(
                {{x_at, top - 20}, {x_at + 11, top - 20}, {x_at + 11, top - 9}, {x_at, top - 9}},
                style.colour
            );
            svg_.text({x_at + 16, top - 10}, style.name, {11, kFaint});
            x_at += 34 + 5.6 * static_cast<double>(std::string_view(style.name).size());
        }
        const double from = last_x() / 2;
        double most = 1;
        for (const Series& series : series_) {
            for (const auto& [at, spread] : series.points) {
                if (static_cast<double>(at) >= from && spread.with_causes > 0) {
                    most = std::max(most, (spread.causes * (1.0 / spread.with_causes)).sum());
                }
            }
        }
        const auto in_row = static_cast<double>(std::max<std::size_t>(causes_in_row(), 2));
        const double wide = (kWidth - kLeft - 30 - (in_row - 1) * 52) / in_row;
        for (std::size_t i = 0; i < series_.size(); ++i) {
            const std::size_t above = i / causes_in_row();
            const auto row = static_cast<double>(above);
            const double left = kLeft + static_cast<double>(i % causes_in_row()) * (wide + 52);
            const double begin = top + 18 + row * (kCauseHeight + kCauseGap);
            const Axis x{from, last_x(), left, left + wide};
            const Axis y{0, most, begin + kCauseHeight, begin};
            svg_.text(
                {left, begin - 6}, series_[i].policy, {12, colour_of(i), Svg::Anchor::kStart, true}
            );
            frame(x, y, 5, 4);
            stack(series_[i], x, y);
        }
        svg_.text(
            {kLeft, height() - 16},
            "each from the middle to the end of the run: " + x_title(),
            {12, kFaint}
        );
    }

    void stack(const Series& series, const Axis& x, const Axis& y) {
        std::vector<std::pair<double, core::Causes>> points;
        for (const auto& [at, spread] : series.points) {
            if (spread.with_causes == 0 || static_cast<double>(at) < x.from) continue;
            points.emplace_back(
                static_cast<double>(at), spread.causes * (1.0 / spread.with_causes)
            );
        }
        std::vector<double> below(points.size());
        for (const CauseStyle& style : kCauses) {
            std::vector<Point> outline;
            for (std::size_t i = 0; i < points.size(); ++i) {
                outline.push_back({x.at(points[i].first), y.at(below[i])});
                below[i] += points[i].second.*style.part;
            }
            for (std::size_t i = points.size(); i-- > 0;) {
                outline.push_back({x.at(points[i].first), y.at(below[i])});
            }
            svg_.area(outline, style.colour);
        }
    }

    const Options& options_;
    std::vector<Series> series_;
    std::string workload_;
    Svg svg_;
};

}  // namespace

std::string plot_workload(const std::vector<RunResult>& results, const Options& options) {
    return Picture(results, options).draw();
}

std::vector<std::pair<std::string, std::string>> plots(
    const std::string& path, const std::vector<RunResult>& results, const Options& options
) {
    std::vector<std::vector<RunResult>> by_workload;
    for (const RunResult& run : results) {
        if (by_workload.empty() || by_workload.back().front().workload != run.workload) {
            by_workload.emplace_back();
        }
        by_workload.back().push_back(run);
    }
    std::vector<std::pair<std::string, std::string>> out;
    const std::size_t slash = path.rfind('/') + 1;
    const std::size_t dot = path.rfind('.');
    const std::size_t stem = dot == std::string::npos || dot <= slash ? path.size() : dot;
    for (const auto& runs : by_workload) {
        std::string file = path;
        if (by_workload.size() > 1) file.insert(stem, "-" + runs.front().workload);
        out.emplace_back(std::move(file), plot_workload(runs, options));
    }
    return out;
}

}  // namespace egpu::simulate
