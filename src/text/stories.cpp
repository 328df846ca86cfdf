#include "src/text/stories.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "src/base/rng.h"
#include "src/text/story_words.h"

namespace lacuna {
namespace {

struct Thing {
  std::string look, name;       // "red", "ball"
  int holder = 0;               // person who has it, or -1
  std::string container, room;  // where it lies when nobody has it
  std::string full() const { return look + " " + name; }
};

// One story: who is there, what lies where, and the sentences so far.
class Teller {
 public:
  Teller(std::uint64_t seed, std::uint64_t number)
      : key_(rng_key(seed ^ (number * 0x9e3779b97f4a7c15ull), "story")) {}

  std::string tell() {
    cast();
    open();
    const int events = 6 + pick(5);
    for (int i = 0; i < events; ++i) {
      event();
      if (i == events / 2) text_.back() = '\n';
    }
    close();
    return std::move(text_);
  }

 private:
  int pick(std::size_t bound) { return static_cast<int>(rng_below(key_, draw_++, bound)); }
  bool chance(int percent) { return pick(100) < percent; }
  const char* word(std::span<const char* const> list) {
    return list[static_cast<std::size_t>(pick(list.size()))];
  }

  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...);
    text_ += ' ';
  }
  const char* name(int who) const { return who_[static_cast<std::size_t>(who)].name; }
  const char* he(int who) const { return who_[static_cast<std::size_t>(who)].she ? "she" : "he"; }
  const char* He(int who) const { return who_[static_cast<std::size_t>(who)].she ? "She" : "He"; }
  const char* his(int who) const { return who_[static_cast<std::size_t>(who)].she ? "her" : "his"; }
  static const char* article(std::string_view next) {
    return std::string_view("aeiou").find(next[0]) == std::string_view::npos ? "a" : "an";
  }

  void cast() {
    while (who_.size() < 3) {
      const words::Person& next = words::people[static_cast<std::size_t>(pick(words::people.size()))];
      if (std::none_of(who_.begin(), who_.end(), [&](const auto& other) { return other.name == next.name; }))
        who_.push_back(next);
    }
    here_ = word(words::places);
    room_ = word(words::rooms);
    while (things_.size() < 3) {
      Thing next{word(chance(75) ? words::colours : words::materials), word(words::things), 0, {}, {}};
      if (std::none_of(things_.begin(), things_.end(),
                       [&](const auto& other) { return other.name == next.name; }))
        things_.push_back(next);
    }
    for (std::size_t i = 0; i < things_.size(); ++i) things_[i].holder = static_cast<int>(i);
  }

  void open() {
    const char* trait = word(words::traits);
    const char* kind = who_[0].kind;
    switch (pick(3)) {
      case 0:
        say("Once upon a time there was {} {} {} named {}.", article(trait), trait, kind, name(0));
        break;
      case 1:
        say("{} was {} {} {} who lived near the {}.", name(0), article(trait), trait, kind, here_);
        break;
      default:
        say("In a house by the {} lived {} {} {}. {} name was {}.", here_, article(trait), trait, kind,
            who_[0].she ? "Her" : "His", name(0));
    }
    say("{} had a {} named {}, and {} knew a {} named {}.", name(0), word(words::relations), name(1), name(1),
        who_[2].kind, name(2));
    say("One {}, {} found {} {} near the {}.", word(words::times), name(0), article(things_[0].look),
        things_[0].full(), word(words::places));
    say("{} had {} {}, and {} had {} {}.", name(1), article(things_[1].look), things_[1].full(), name(2),
        article(things_[2].look), things_[2].full());
  }

  void event() {
    const int who = pick(3), other = (who + 1 + pick(2)) % 3, thing = pick(3);
    int kind = pick(12);
    while (kind / 2 == last_kind_ / 2) kind = pick(12);  // not the same twice in a row
    last_kind_ = kind;
    switch (kind) {
      case 0:
      case 1:
        hide_or_fetch(thing);
        break;
      case 2:
      case 3:
        give(thing);
        break;
      case 4:
      case 5:
        ask(who, thing);
        break;
      case 6:
        travel(who);
        break;
      case 7:
        trade(who, other);
        break;
      case 8:
        eat(who, other);
        break;
      case 9:
        wonder(who, thing);
        break;
      case 10:
        stranger(who);
        break;
      default:
        play(who, other);
    }
  }

  void hide_or_fetch(int index) {
    Thing& thing = things_[static_cast<std::size_t>(index)];
    if (thing.holder >= 0) {
      thing.container = word(words::containers);
      thing.room = word(words::rooms);
      say("{} put the {} in the {} in the {}.", name(thing.holder), thing.full(), thing.container,
          thing.room);
      if (chance(40)) say("{} wanted to keep it safe.", He(thing.holder));
      thing.holder = -1;
    } else {
      const int who = pick(3);
      say("{} went to the {} and opened the {}. There was the {}, and {} took it.", name(who), thing.room,
          thing.container, thing.full(), he(who));
      thing.holder = who;
    }
  }

  void give(int index) {
    Thing& thing = things_[static_cast<std::size_t>(index)];
    if (thing.holder < 0) return hide_or_fetch(index);
    const int to = (thing.holder + 1 + pick(2)) % 3;
    if (chance(50)) {
      say("{} gave the {} to {}. \"Thank you, {},\" said {}.", name(thing.holder), thing.full(), name(to),
          name(thing.holder), name(to));
    } else {
      say("\"May I have the {}?\" asked {}. {} smiled and gave it to {}.", thing.full(), name(to),
          name(thing.holder), who_[static_cast<std::size_t>(to)].she ? "her" : "him");
    }
    thing.holder = to;
  }

  void ask(int who, int index) {
    const Thing& thing = things_[static_cast<std::size_t>(index)];
    if (thing.holder == who) {
      say("{} looked at the {} and felt {}.", name(who), thing.full(), word(words::feelings));
    } else if (thing.holder >= 0) {
      say("\"Where is the {}?\" asked {}. \"I have it,\" said {}.", thing.full(), name(who),
          name(thing.holder));
    } else {
      say("\"Where is the {}?\" asked {}. \"It is in the {} in the {},\" said {}.", thing.full(), name(who),
          thing.container, thing.room, name((who + 1) % 3));
    }
  }

  void travel(int who) {
    here_ = word(words::places);
    say("{} walked to the {}. It was {} at the {}, and {} felt {}.", name(who), here_, word(words::weathers),
        here_, he(who), word(words::feelings));
    for (const Thing& thing : things_)
      if (thing.holder == who && chance(60)) {
        say("{} carried the {} with {}.", He(who), thing.full(),
            who_[static_cast<std::size_t>(who)].she ? "her" : "him");
        return;
      }
  }

  void trade(int who, int other) {
    Thing *mine = nullptr, *yours = nullptr;
    for (Thing& thing : things_) {
      if (thing.holder == who && !mine) mine = &thing;
      if (thing.holder == other && !yours) yours = &thing;
    }
    if (!mine || !yours) return eat(who, other);
    say("{} traded the {} for the {} of {}.", name(who), mine->full(), yours->full(), name(other));
    std::swap(mine->holder, yours->holder);
    say("Now {} had the {} and {} had the {}.", name(who), yours->full(), name(other), mine->full());
  }

  void eat(int who, int other) {
    const char* food = word(words::foods);
    say("{} was hungry, so {} made {} for {} and {}. They ate the {} in the {}.", name(who), he(who), food,
        name(who), name(other), food, room_);
  }

  void wonder(int who, int index) {
    const Thing& thing = things_[static_cast<std::size_t>(index)];
    if (thing.holder == who) {
      say("{} heard a {} and held the {} close.", name(who), word(words::sounds), thing.full());
    } else if (thing.holder >= 0) {
      say("{} wondered who had the {}. It was {}.", name(who), thing.full(), name(thing.holder));
    } else {
      say("{} looked for the {}. It was still in the {}.", name(who), thing.full(), thing.container);
    }
  }

  void stranger(int who) {
    const char* helper = word(words::helpers);
    say("{} met a {} at the {}. \"What do you have?\" asked the {}.", name(who), helper, here_, helper);
    std::string list;
    for (const Thing& thing : things_)
      if (thing.holder == who) list += (list.empty() ? "the " : " and the ") + thing.full();
    if (list.empty()) {
      say("\"I have nothing,\" said {}. The {} gave {} some {}.", name(who), helper,
          who_[static_cast<std::size_t>(who)].she ? "her" : "him", word(words::foods));
    } else {
      say("\"I have {},\" said {}. The {} was {}.", list, name(who), helper, word(words::feelings));
    }
  }

  void play(int who, int other) {
    if (chance(50)) {
      const char* game = word(words::games);
      say("{} and {} played {} in the {}. {} won, and {} was {}.", name(who), name(other), game, room_,
          name(other), name(who), word(words::feelings));
    } else {
      const char* plant = word(words::plants);
      say("{} planted {} in {} garden. {} helped with the {}.", name(who), plant, his(who), name(other),
          plant);
    }
  }

  void close() {
    for (const Thing& thing : things_) {
      if (thing.holder >= 0) {
        say("At the end {} had the {}.", name(thing.holder), thing.full());
      } else {
        say("The {} stayed in the {} in the {}.", thing.full(), thing.container, thing.room);
      }
    }
    say("{}, {} and {} went home. They learned that {}.", name(0), name(1), name(2), word(words::lessons));
    text_.pop_back();
  }

  std::uint64_t key_, draw_ = 0;
  std::vector<words::Person> who_;
  std::vector<Thing> things_;
  std::string here_, room_, text_;
  int last_kind_ = -2;
};

}  // namespace

std::string story(std::uint64_t seed, std::uint64_t number) {
  return Teller(seed, number).tell();
}

std::string stories(std::uint64_t seed, std::uint64_t bytes, const std::string& separator) {
  std::string out;
  out.reserve(bytes + 4096);
  for (std::uint64_t number = 0; out.size() < bytes; ++number) out += story(seed, number) + separator;
  return out;
}

}  // namespace lacuna
