#include "launch/options.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "launch/command_line.h"
#include "launch/output.h"
#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

constexpr std::size_t kMaxConfigBytes = 1 << 20;

// "optim.lr-peak" -> "LACUNA_OPTIM_LR_PEAK"
std::string environment_name(const std::string& name) {
  std::string out = "LACUNA_";
  for (const char c : name)
    out += c == '.' || c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string key_of(const std::string& name) {
  return name.substr(name.find('.') + 1);
}
std::string section_of(const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

}  // namespace

struct Options::State {
  struct Entry {
    FieldRef field;
    std::string short_name;                    // "m" or ""
    std::vector<std::string>* list = nullptr;  // takes tokens as they are
    bool has_section = false;                  // a field of a struct: file and environment set it too
    std::string source;                        // where its value came from: "" = default
  };
  std::string verb, summary, usage;
  std::vector<Entry> entries, positionals;
  std::map<std::string, std::size_t> by_name;  // canonical name -> entry
  FlagTable table;
  std::vector<std::string> problems;
  std::string config;
  bool help = false;

  std::size_t add(Entry entry) {
    by_name[entry.field.name] = entries.size();
    entries.push_back(std::move(entry));
    return entries.size() - 1;
  }
  void set(Entry& entry, const std::vector<std::string>& values, const std::string& source) {
    entry.source = source;
    try {
      if (entry.list) {
        *entry.list = values;
        return;
      }
      std::string text = values.at(0);
      for (std::size_t i = 1; i < values.size(); ++i) text += "," + values[i];
      entry.field.set(text);
    } catch (const Error& error) {
      problems.push_back(fmt::format("{}: {}", source, error.what()));
    }
  }
  void read_config();
  void read_environment();
  void read_flags(const CommandLine& line);
  void read_positionals(const CommandLine& line);
};

Options::Options(std::string verb, std::string summary, std::string usage)
    : state_(std::make_unique<State>()) {
  state_->verb = std::move(verb);
  state_->summary = std::move(summary);
  state_->usage = std::move(usage);
  flag("help,h", state_->help, "this page");
}

Options::~Options() = default;

Options& Options::add_flag(const std::string& names, FieldRef field, std::vector<std::string>* list) {
  const std::size_t comma = names.find(',');
  const std::string short_name = comma == std::string::npos ? "" : names.substr(comma + 1);
  LACUNA_ASSERT(short_name.empty() ? comma == std::string::npos : short_name.size() == 1);
  const Arity arity = field.is_bool ? Arity::Switch : field.type == "list" ? Arity::Many : Arity::One;
  state_->table.add("--" + field.name, field.name, arity);
  if (!short_name.empty()) state_->table.add("-" + short_name, field.name, arity);
  state_->add({std::move(field), short_name, list, false, ""});
  return *this;
}

Options& Options::add_positional(FieldRef field, std::vector<std::string>* list) {
  state_->positionals.push_back({std::move(field), "", list, false, ""});
  return *this;
}

void Options::add_field(FieldRef field) {
  LACUNA_ASSERT(!section_of(field.name).empty() && !key_of(field.name).empty());
  const bool first = std::none_of(state_->entries.begin(), state_->entries.end(),
                                  [](const State::Entry& entry) { return entry.has_section; });
  if (first) flag("config", state_->config, "INI file with values for the keys below");
  const Arity arity = field.is_bool ? Arity::Switch : field.type == "list" ? Arity::Many : Arity::One;
  state_->table.add("--" + field.name, field.name, arity);
  state_->table.add("--" + key_of(field.name), field.name, arity);
  state_->add({std::move(field), "", nullptr, true, ""});
}

void Options::State::read_config() {
  if (config.empty()) return;
  std::vector<IniEntry> lines;
  try {
    lines = read_ini(read_file(config, kMaxConfigBytes), printable(config));
  } catch (const Error& error) {
    problems.push_back(error.what());
    return;
  }
  std::map<std::string, int> seen;
  for (const IniEntry& line : lines) {
    const std::string place = fmt::format("{}:{}: {}", printable(config), line.line, printable(line.name));
    const auto found = by_name.find(line.name);
    const auto [before, fresh] = seen.emplace(line.name, line.line);
    if (!fresh)
      problems.push_back(fmt::format("{} stands there already, in line {}", place, before->second));
    else if (found == by_name.end() || !entries[found->second].has_section)
      problems.push_back(fmt::format("{}: unknown key", place));
    else
      set(entries[found->second], {line.value}, place);
  }
}

void Options::State::read_environment() {
  std::map<std::string, std::size_t> names;
  std::set<std::string> prefixes;  // LACUNA_OPTIM_
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].has_section) continue;
    names[environment_name(entries[i].field.name)] = i;
    prefixes.insert(environment_name(section_of(entries[i].field.name)) + "_");
  }
  for (char** variable = environ; variable && *variable; ++variable) {
    const std::string text = *variable;
    const std::string name = text.substr(0, text.find('='));
    const auto found = names.find(name);
    if (found != names.end()) {
      set(entries[found->second], {text.substr(std::min(text.size(), name.size() + 1))}, name);
      continue;
    }
    for (const std::string& prefix : prefixes)
      if (name.compare(0, prefix.size(), prefix) == 0)
        problems.push_back(fmt::format("{}: no such key (an environment variable)", printable(name)));
  }
}

void Options::State::read_flags(const CommandLine& line) {
  std::set<std::string> seen;
  for (const FlagUse& use : line.flags) {
    if (!seen.insert(use.name).second)
      problems.push_back(fmt::format("{} is given twice", use.spelled));
    else
      set(entries[by_name.at(use.name)], use.values, use.spelled);
  }
}

void Options::State::read_positionals(const CommandLine& line) {
  std::size_t next = 0;
  for (Entry& entry : positionals) {
    if (next >= line.positionals.size()) break;
    const std::size_t end = entry.list ? line.positionals.size() : next + 1;
    set(entry,
        {line.positionals.begin() + static_cast<std::ptrdiff_t>(next),
         line.positionals.begin() + static_cast<std::ptrdiff_t>(end)},
        entry.field.name);
    next = end;
  }
  for (; next < line.positionals.size(); ++next)
    problems.push_back(fmt::format("unexpected argument '{}'", printable(line.positionals[next])));
}

bool Options::parse(const std::vector<std::string>& arguments) {
  State& state = *state_;
  const CommandLine line = state.table.split(arguments);
  for (const FlagUse& use : line.flags) {
    if (use.name != "help") continue;
    print_text(help());
    return false;
  }
  // The file comes first because everything else wins over it; only --config itself is needed before.
  for (const FlagUse& use : line.flags)
    if (use.name == "config") state.config = use.values.at(0);
  state.problems.insert(state.problems.end(), line.problems.begin(), line.problems.end());
  state.read_config();
  state.read_environment();
  state.read_flags(line);
  state.read_positionals(line);
  return true;
}

void Options::require(const std::string& name) {
  if (given(name)) return;
  const auto& positionals = state_->positionals;
  const bool positional = std::any_of(positionals.begin(), positionals.end(),
                                      [&](const State::Entry& entry) { return entry.field.name == name; });
  problem(fmt::format("{}{} is missing", positional ? "" : "--", name));
}

void Options::problem(const std::string& text) {
  state_->problems.push_back(text);
}

void Options::finish() {
  const auto& problems = state_->problems;
  if (problems.empty()) return;
  std::string text = fmt::format("{}: {}", state_->verb, problems[0]);
  for (std::size_t i = 1; i < problems.size(); ++i) text += "; " + problems[i];
  throw Error(ErrorKind::Usage, fmt::format("{} (lacuna {} --help)", text, state_->verb));
}

bool Options::given(const std::string& name) const {
  for (const State::Entry& entry : state_->positionals)
    if (entry.field.name == name) return !entry.source.empty();
  for (const State::Entry& entry : state_->entries)
    if (entry.field.name == name || (entry.has_section && key_of(entry.field.name) == name))
      return !entry.source.empty();
  fail(ErrorKind::Internal, "{}: asked for the flag '{}', which was never declared", state_->verb, name);
}

std::string Options::resolved_ini() const {
  std::vector<FieldRef> fields;
  for (const State::Entry& entry : state_->entries)
    if (entry.has_section) fields.push_back(entry.field);
  return to_ini(fields, false);
}

namespace {

// "  -m, --model TEXT        what it is (default)"
std::string help_line(const std::string& left, const std::string& help, const std::string& preset) {
  std::string line = "  " + left;
  line += line.size() < 34 ? std::string(34 - line.size(), ' ') : "\n" + std::string(34, ' ');
  line += help;
  if (!preset.empty()) line += fmt::format(" [{}]", preset);
  return line + "\n";
}

std::string value_word(const FieldRef& field) {
  if (field.is_bool) return "";
  if (field.type == "list") return " V...";
  return field.type == "text" ? " TEXT" : " N";
}

}  // namespace

std::string Options::help() const {
  std::string out =
      fmt::format("lacuna {}: {}\n\nexample:\n  {}\n\n", state_->verb, state_->summary, state_->usage);
  for (const State::Entry& entry : state_->positionals)
    out += help_line(entry.field.name, entry.field.help, "");
  std::string section;
  for (const State::Entry& entry : state_->entries) {
    const FieldRef& field = entry.field;
    if (entry.has_section && section_of(field.name) != section) {
      section = section_of(field.name);
      out += fmt::format("\n[{}] as --{}.KEY, as --KEY, in a --config file, or {}\n", section, section,
                         environment_name(section) + "_KEY");
    }
    const std::string dash = entry.short_name.empty() ? "" : "-" + entry.short_name + ", ";
    const std::string left =
        dash + "--" + (entry.has_section ? key_of(field.name) : field.name) + value_word(field);
    const std::string preset = field.get();
    out += help_line(left, field.help, field.is_bool && preset == "no" ? "" : printable(preset));
  }
  return out;
}

}  // namespace lacuna
