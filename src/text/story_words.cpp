#include "src/text/story_words.h"

namespace lacuna::words {
namespace {

constexpr Person person_list[] = {
    {"Ada", "girl", true},   {"Anna", "girl", true},   {"Bella", "girl", true},  {"Clara", "girl", true},
    {"Daisy", "girl", true}, {"Ella", "girl", true},   {"Emma", "girl", true},   {"Fiona", "girl", true},
    {"Grace", "girl", true}, {"Hannah", "girl", true}, {"Iris", "girl", true},   {"Julia", "girl", true},
    {"Kate", "girl", true},  {"Lily", "girl", true},   {"Lucy", "girl", true},   {"Mara", "girl", true},
    {"Mia", "girl", true},   {"Nina", "girl", true},   {"Olga", "girl", true},   {"Rosa", "girl", true},
    {"Ruth", "girl", true},  {"Sara", "girl", true},   {"Tess", "girl", true},   {"Zoe", "girl", true},
    {"Adam", "boy", false},  {"Ben", "boy", false},    {"Carl", "boy", false},   {"Dan", "boy", false},
    {"Emil", "boy", false},  {"Finn", "boy", false},   {"George", "boy", false}, {"Hugo", "boy", false},
    {"Ivan", "boy", false},  {"Jack", "boy", false},   {"Karl", "boy", false},   {"Leo", "boy", false},
    {"Max", "boy", false},   {"Noah", "boy", false},   {"Oscar", "boy", false},  {"Paul", "boy", false},
    {"Robin", "boy", false}, {"Sam", "boy", false},    {"Theo", "boy", false},   {"Tom", "boy", false},
    {"Amber", "cat", true},  {"Bruno", "bear", false}, {"Coco", "monkey", true}, {"Dot", "mouse", true},
    {"Felix", "fox", false}, {"Gus", "goat", false},   {"Hazel", "hare", true},  {"Jasper", "badger", false},
    {"Luna", "owl", true},   {"Milo", "dog", false},   {"Nell", "hen", true},    {"Otto", "otter", false},
    {"Pearl", "pig", true},  {"Rusty", "wolf", false}, {"Sky", "swan", true},    {"Toby", "toad", false},
};
constexpr const char* thing_list[] = {
    "apple",  "axe",     "ball",   "bell",    "bird cage", "boat",     "book",   "boot",   "bottle",  "bowl",
    "brush",  "button",  "candle", "cap",     "clock",     "coat",     "coin",   "comb",   "cup",     "doll",
    "drum",   "feather", "flag",   "flute",   "glove",     "hammer",   "hat",    "horn",   "key",     "kite",
    "knife",  "ladder",  "lamp",   "lantern", "letter",    "map",      "mask",   "mirror", "needle",  "pearl",
    "pencil", "pillow",  "plate",  "purse",   "ring",      "rope",     "scarf",  "shell",  "shovel",  "spoon",
    "stone",  "sword",   "ticket", "towel",   "train",     "umbrella", "violin", "wheel",  "whistle", "yarn",
};
constexpr const char* colour_list[] = {"red",    "blue",   "green",   "yellow", "white", "black",
                                       "brown",  "grey",   "purple",  "orange", "pink",  "silver",
                                       "golden", "violet", "crimson", "pale"};
constexpr const char* material_list[] = {"wooden", "shiny", "tiny",  "heavy",  "old",     "broken",
                                         "clean",  "dusty", "round", "smooth", "striped", "painted"};
constexpr const char* container_list[] = {"basket", "barrel", "box",  "bucket",      "cupboard", "chest",
                                          "drawer", "jar",    "sack", "suitcase",    "trunk",    "wagon",
                                          "bag",    "crate",  "pot",  "hollow tree", "tent",     "closet"};
constexpr const char* room_list[] = {"kitchen", "attic", "cellar", "barn",    "garden", "hall",   "workshop",
                                     "stable",  "tower", "cabin",  "library", "yard",   "bakery", "school"};
constexpr const char* place_list[] = {
    "river",    "forest",  "market", "bridge", "lake",   "meadow",   "mill",   "harbor",    "hill", "island",
    "mountain", "orchard", "park",   "pond",   "square", "station",  "valley", "village",   "well", "beach",
    "castle",   "cave",    "church", "farm",   "field",  "fountain", "gate",   "lighthouse"};
constexpr const char* weather_list[] = {"warm",  "cold", "windy",  "rainy", "sunny",  "foggy", "quiet",
                                        "snowy", "dark", "bright", "hot",   "stormy", "misty", "mild"};
constexpr const char* feeling_list[] = {"happy",  "sad",     "proud",     "tired",  "angry",
                                        "afraid", "curious", "calm",      "lonely", "excited",
                                        "glad",   "hungry",  "surprised", "worried"};
constexpr const char* trait_list[] = {"brave",  "clever", "gentle",  "kind",    "lazy",  "little",   "loud",
                                      "honest", "merry",  "patient", "polite",  "shy",   "stubborn", "young",
                                      "strong", "silly",  "wise",    "careful", "quick", "friendly"};
constexpr const char* relation_list[] = {"friend",   "neighbor", "cousin", "teacher",
                                         "playmate", "partner",  "guest",  "rival"};
constexpr const char* food_list[] = {"bread", "cheese", "soup",    "cake",     "honey", "milk",
                                     "nuts",  "pears",  "plums",   "porridge", "rice",  "stew",
                                     "tea",   "pie",    "berries", "beans"};
constexpr const char* time_list[] = {"morning", "afternoon", "evening",    "night",      "day",
                                     "Monday",  "Sunday",    "summer day", "winter day", "spring morning"};
constexpr const char* helper_list[] = {"baker",  "farmer", "sailor", "queen",   "king",
                                       "doctor", "miller", "hunter", "painter", "soldier",
                                       "tailor", "giant",  "wizard", "shepherd"};
constexpr const char* sound_list[] = {"crack", "splash", "whisper", "knock", "roar", "song", "cry", "thud"};
constexpr const char* lesson_list[] = {"good friends remember",     "it is wise to ask",
                                       "a promise must be kept",    "sharing makes the day brighter",
                                       "nothing is lost for long",  "small things matter most",
                                       "the truth is the best way", "patience is worth the wait"};
constexpr const char* game_list[] = {"chess", "tag", "cards", "marbles", "hide and seek", "catch", "riddles"};
constexpr const char* plant_list[] = {"roses",   "tulips",   "carrots", "herbs",
                                      "daisies", "pumpkins", "ferns",   "beets"};

}  // namespace

const std::span<const Person> people(person_list);
const std::span<const char*const> things(thing_list), colours(colour_list), materials(material_list),
    containers(container_list), rooms(room_list), places(place_list), weathers(weather_list),
    feelings(feeling_list), traits(trait_list), relations(relation_list), foods(food_list), times(time_list),
    helpers(helper_list), sounds(sound_list), lessons(lesson_list), games(game_list), plants(plant_list);

}  // namespace lacuna::words
