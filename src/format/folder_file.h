// Names inside a model folder. A folder from the network must not lead the reader out of itself: names are
// plain file names, and a symbolic link is followed only to a file inside the folder or inside the "blobs"
// of a Hugging Face cache (…/snapshots/REVISION/x -> …/blobs/HASH), where downloads live as links.
#pragma once

#include <cstddef>
#include <string>

namespace lacuna {

// Throws Error(BadInput) unless `name` is [A-Za-z0-9._-]{1,255} without a leading dot. `where` names the file
// that mentions it.
void check_plain_name(const std::string& name, const std::string& where);

bool in_folder(const std::string& folder, const std::string& name);  // something of that name is there

// The real path of `folder`/`name`, which is not a symbolic link any more. Error(BadInput) when it is missing
// or leads out of the folder.
std::string file_in_folder(const std::string& folder, const std::string& name);

std::string read_in_folder(const std::string& folder, const std::string& name, std::size_t max_bytes);

}  // namespace lacuna
