// One step of a collective protocol: every rank does its part, then all know what the others have done.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/run/communicator.h"

namespace lacuna {

// Collective. Runs body() on every rank and returns the texts of all ranks in rank order. When it throws on
// some rank, every rank throws the same Error: that of the lowest such rank, as "rank 3: …" and "(while
// <doing>)". Nothing but the exchange itself can throw differently on different ranks.
std::vector<std::string> together(Communicator& world, const std::string& doing,
                                  const std::function<std::string()>& body);

// The same where only rank 0 has something to do; everyone gets its text.
std::string rank0_alone(Communicator& world, const std::string& doing,
                        const std::function<std::string()>& body);

}  // namespace lacuna
