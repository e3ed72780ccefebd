#include "simulate/svg.h"

#include <cmath>
#include <cstdio>

namespace egpu::simulate {
namespace {

// Names of workloads come from files: nothing of them may become markup.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
    }
    return out;
}

std::string pixels(double value) {
    return short_number(value, 1);
}

std::string points_text(const std::vector<Point>& points) {
    std::string out;
    for (const Point& point : points) {
        out += (out.empty() ? "" : " ") + pixels(point.x) + "," + pixels(point.y);
    }
    return out;
}

std::string stroke_text(const Svg::Stroke& stroke) {
    std::string out = " stroke=\"" + std::string(stroke.colour) + "\" stroke-width=\"" +
                      pixels(stroke.width) + "\"";
    if (!stroke.dash.empty()) out += " stroke-dasharray=\"" + std::string(stroke.dash) + "\"";
    return out;
}

}  // namespace

std::string short_number(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    std::string out = text;
    if (out.find('.') != std::string::npos) {
        while (out.back() == '0') out.pop_back();
        if (out.back() == '.') out.pop_back();
    }
    return out == "-0" ? "0" : out;
}

std::vector<double> Axis::ticks(int count) const {
    std::vector<double> out;
    if (!(to > from) || count < 1) return out;
    const double rough = (to - from) / count;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    double step = 10 * power;
    for (const double nice : {5.0, 2.0, 1.0}) {
        if (nice * power >= 0.75 * rough) step = nice * power;
    }
    for (double k = std::ceil(from / step - 1e-9); k * step <= to + step * 1e-9; ++k) {
        out.push_back(k * step);
    }
    return out;
}

Svg::Svg(double width, double height) {
    const std::string size = pixels(width) + "\" height=\"" + pixels(height);
    body_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + size + "\" viewBox=\"0 0 " +
            pixels(width) + " " + pixels(height) +
            "\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n" + "<rect width=\"" +
            size + "\" fill=\"#fff\"/>\n";
}

void Svg::line(Point from, Point to, const Stroke& stroke) {
    body_ += "<line x1=\"" + pixels(from.x) + "\" y1=\"" + pixels(from.y) + "\" x2=\"" +
             pixels(to.x) + "\" y2=\"" + pixels(to.y) + "\"" + stroke_text(stroke) + "/>\n";
}

void Svg::curve(const std::vector<Point>& points, const Stroke& stroke) {
    if (points.empty()) return;
    body_ += "<polyline fill=\"none\" stroke-linejoin=\"round\" points=\"" + points_text(points) +
             "\"" + stroke_text(stroke) + "/>\n";
}

void Svg::area(const std::vector<Point>& outline, std::string_view colour, double opacity) {
    if (outline.size() < 3) return;
    body_ +=
        "<polygon points=\"" + points_text(outline) + "\" fill=\"" + std::string(colour) + "\"";
    if (opacity < 1) body_ += " fill-opacity=\"" + short_number(opacity, 2) + "\"";
    body_ += "/>\n";
}

void Svg::text(Point at, std::string_view words, const Letters& letters) {
    body_ += "<text x=\"" + pixels(at.x) + "\" y=\"" + pixels(at.y) + "\" font-size=\"" +
             pixels(letters.size) + "\" fill=\"" + std::string(letters.colour) + "\"";
    if (letters.anchor == Anchor::kMiddle) body_ += " text-anchor=\"middle\"";
    if (letters.anchor == Anchor::kEnd) body_ += " text-anchor=\"end\"";
    if (letters.bold) body_ += " font-weight=\"bold\"";
    if (letters.upright) {
        body_ += " transform=\"rotate(-90 " + pixels(at.x) + " " + pixels(at.y) + ")\"";
    }
    body_ += ">" + escaped(words) + "</text>\n";
}

std::string Svg::take() {
    return std::move(body_) + "</svg>\n";
}

}  // namespace egpu::simulate
