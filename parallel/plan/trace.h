// A timed table as a trace-event file for Perfetto and chrome://tracing: a process a rank, a track an engine.
#pragma once

#include <string>

#include "parallel/plan/event_walk.h"
#include "parallel/plan/schedule.h"

namespace lacuna {

// JSON text; one unit of `times` becomes `unit_us` microseconds.
std::string trace_json(const Schedule& schedule, const EventTimes& times, double unit_us = 1000);

}  // namespace lacuna
