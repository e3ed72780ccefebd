// A drawing as SVG text: lines, areas and words on a white ground. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace egpu::simulate {

struct Point {
    double x = 0;
    double y = 0;
};

// From a range of values to a range of pixels.
struct Axis {
    double from = 0;
    double to = 1;
    double begin = 0;  // pixels
    double end = 1;

    double at(double value) const { return begin + (value - from) / (to - from) * (end - begin); }
    // Round values inside the range, about `count` of them.
    std::vector<double> ticks(int count) const;
};

class Svg {
  public:
    Svg(double width, double height);

    struct Stroke {
        std::string_view colour = "#000";
        double width = 1;
        std::string_view dash = {};  // SVG's stroke-dasharray
    };
    void line(Point from, Point to, const Stroke& stroke);
    void curve(const std::vector<Point>& points, const Stroke& stroke);
    void area(const std::vector<Point>& outline, std::string_view colour, double opacity = 1);

    enum class Anchor { kStart, kMiddle, kEnd };
    struct Letters {
        double size = 12;
        std::string_view colour = "#333";
        Anchor anchor = Anchor::kStart;
        bool bold = false;
        bool upright = false;  // turned to read from below
    };
    void text(Point at, std::string_view words, const Letters& letters);

    std::string take();  // the whole document

  private:
    std::string body_;
};

// A number with at most `digits` decimals, without zeros at the end.
std::string short_number(double value, int digits);

}  // namespace egpu::simulate
