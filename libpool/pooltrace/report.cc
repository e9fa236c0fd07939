// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/report.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

namespace libpool::tier::trace {

namespace {

std::string seconds_or_never(const std::optional<double>& seconds) {
    return seconds ? text("%.2f", *seconds) : "";
}

// A single-quoted gnuplot string.
std::string in_gnuplot(const std::string& words) {
    std::string out = "'";
    for (char c : words) {
        if (c == '\'') out += '\'';
        out += c >= ' ' ? c : ' ';
    }
    return out + "'";
}

// Runs gnuplot on a script, without a shell. False: there is none, or it failed.
bool gnuplot(const std::string& script) {
    pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
        execlp("gnuplot", "gnuplot", script.c_str(), static_cast<char*>(nullptr));
        _exit(127);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string curve_file(const std::string& prefix, const std::string& policy) {
    return prefix + "." + policy + ".csv";
}

std::string plot_script(const std::string& prefix, const std::string& title,
                        const std::vector<Curve>& curves, const Bound& bound) {
    std::string out = "set terminal svg size 900,640 noenhanced background 'white'\n";
    out += "set output " + in_gnuplot(prefix + ".svg") + "\n";
    out += "set datafile separator ','\nset multiplot layout 2,1\nset key outside right\n";
    out +=
        "set title " + in_gnuplot(title) + "\nset yrange [0:1.02]\nset ylabel 'near-hit share'\n";
    out +=
        "plot " + text("%.6f title 'bound (mean)' dashtype 2 linecolor 'black'", bound.near_share);
    for (const Curve& curve : curves) {
        out += ", " + in_gnuplot(curve_file(prefix, curve.policy)) +
               " using 2:($3>0?$4/$3:1/0) skip 1 with lines title " + in_gnuplot(curve.policy);
    }
    out +=
        "\nunset title\nset yrange [0:*]\nset xlabel 's'\nset ylabel 'pages moved an epoch'\nplot ";
    for (size_t i = 0; i < curves.size(); ++i) {
        out += (i == 0 ? "" : ", ") + in_gnuplot(curve_file(prefix, curves[i].policy)) +
               " using 2:($8+$9) skip 1 with steps title " + in_gnuplot(curves[i].policy);
    }
    return out + "\nunset multiplot\n";
}

}  // namespace

std::string epochs_csv(const Trace& trace, const Outcome& outcome) {
    std::string out =
        "epoch,start_s,accesses,near,far,base_near,base_far,promoted,demoted,ping_pong,overhead_ns,"
        "near_used\n";
    for (size_t e = 0; e < outcome.rows.size(); ++e) {
        const EpochRow& row = outcome.rows[e];
        out += text("%zu,%.6g,%.10g,%.10g,%.10g,%.10g,%.10g,%llu,%llu,%llu,%.6g,%llu\n", e,
                    double(e) * trace.epoch_s(), row.near + row.far, row.near, row.far,
                    row.base_near, row.base_far, static_cast<unsigned long long>(row.promoted),
                    static_cast<unsigned long long>(row.demoted),
                    static_cast<unsigned long long>(row.ping_pong), row.overhead_ns,
                    static_cast<unsigned long long>(row.near_used));
    }
    return out;
}

std::string summary_csv(const std::vector<Summary>& rows) {
    std::string out =
        "workload,policy,pages,near_pages,accesses,near_share,base_near_share,bound_near_share,"
        "of_bound,cost_s,base_cost_s,bound_cost_s,regret,promoted,demoted,ping_pong,moved_bytes,"
        "overhead_share,recovery_90_s,recovery_95_s,cycles,refused\n";
    for (const Summary& s : rows) {
        out += text("%s,%s,%llu,%llu,%.0f,%.6f,%.6f,%.6f,%.6f,%.6g,%.6g,%.6g,%.6g,%llu,%llu,%llu,",
                    s.workload.c_str(), s.policy.c_str(), static_cast<unsigned long long>(s.pages),
                    static_cast<unsigned long long>(s.near_pages), s.accesses, s.near_share,
                    s.base_near_share, s.bound_near_share, s.of_bound, s.cost_s, s.base_cost_s,
                    s.bound_cost_s, s.regret, static_cast<unsigned long long>(s.promoted),
                    static_cast<unsigned long long>(s.demoted),
                    static_cast<unsigned long long>(s.ping_pong));
        out += text("%.0f,%.6g,%s,%s,%llu,%llu\n", s.moved_bytes, s.overhead_share,
                    seconds_or_never(s.recovery.to_90_s).c_str(),
                    seconds_or_never(s.recovery.to_95_s).c_str(),
                    static_cast<unsigned long long>(s.cycles),
                    static_cast<unsigned long long>(s.refused));
    }
    return out;
}

std::string summary_table(const std::vector<Summary>& rows) {
    std::string out = text("%-14s %-8s %-12s %7s %7s %8s %8s %9s %9s %6s %6s %6s\n", "workload",
                           "near", "policy", "near %", "bound %", "of bnd %", "regret", "moved MiB",
                           "ping-pong", "cpu %", "90 % s", "95 % s");
    for (const Summary& s : rows) {
        auto recovery = [&](const std::optional<double>& at) {
            return at ? text("%.1f", *at) : std::string("-");
        };
        out += text("%-14s %-8llu %-12s %7.2f %7.2f %8.2f %8.3f %9.1f %9llu %6.2f %6s %6s\n",
                    s.workload.c_str(), static_cast<unsigned long long>(s.near_pages),
                    s.policy.c_str(), 100 * s.near_share, 100 * s.bound_near_share,
                    100 * s.of_bound, s.regret, s.moved_bytes / (1 << 20),
                    static_cast<unsigned long long>(s.ping_pong), 100 * s.overhead_share,
                    recovery(s.recovery.to_90_s).c_str(), recovery(s.recovery.to_95_s).c_str());
    }
    return out;
}

std::vector<std::string> plot_files(const std::string& prefix,
                                    const std::vector<std::string>& policies) {
    std::vector<std::string> files = {prefix + ".gp", prefix + ".svg"};
    for (const std::string& policy : policies) files.push_back(curve_file(prefix, policy));
    return files;
}

Result<std::string> plot(const std::string& prefix, const std::string& title, const Trace& trace,
                         const std::vector<Curve>& curves, const Bound& bound) {
    for (const Curve& curve : curves) {
        auto written =
            write_file(curve_file(prefix, curve.policy), epochs_csv(trace, curve.outcome));
        if (!written) return std::unexpected(written.error());
    }
    auto written = write_file(prefix + ".gp", plot_script(prefix, title, curves, bound));
    if (!written) return std::unexpected(written.error());
    if (gnuplot(prefix + ".gp")) return text("Plot: %s.svg.", prefix.c_str());
    return text(
        "No picture: gnuplot is not installed or failed (package gnuplot-nox); %s.gp is its "
        "script.",
        prefix.c_str());
}

}  // namespace libpool::tier::trace
