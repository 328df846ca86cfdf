// The words of the stories, one list a role.
#pragma once

#include <span>

namespace lacuna::words {

struct Person {
  const char* name;
  const char* kind;  // "girl": goes with the pronouns
  bool she;
};

extern const std::span<const Person> people;
extern const std::span<const char*const> things, colours, materials, containers, rooms, places, weathers,
    feelings, traits, relations, foods, times, helpers, sounds, lessons, games, plants;

}  // namespace lacuna::words
