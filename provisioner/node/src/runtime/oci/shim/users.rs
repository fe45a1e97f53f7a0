//! Who a container runs as, from its image's user and the pod's wishes.

use crate::runtime::Privileges;

/// Ids of a container's first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Decides with the texts of the image's `/etc/passwd` and `/etc/group`, empty where it has none.
///
/// A user of the pod's wins over the image's. Groups that `/etc/group` lists the user in are added, unless only the
/// pod's own are wanted.
/// `Err` names what the image does not know, in the words that upstream uses.
pub(super) fn identify(passwd: &str, group: &str, image_user: &str, wishes: &Privileges) -> Result<Identity, String> {
    let (user, image_group) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (image_user, None),
    };
    let accounts: Vec<Account<'_>> = passwd.lines().filter_map(account).collect();
    let user = wishes.user.map_or_else(|| user.to_owned(), |uid| uid.to_string());
    let user = if user.is_empty() { "0" } else { &user };
    let found = match user.parse::<u32>() {
        Ok(uid) => accounts.iter().find(|a| a.uid == uid),
        Err(_) => Some(
            accounts
                .iter()
                .find(|a| a.name == user)
                .ok_or_else(|| format!("unable to find user {user}: no matching entries in passwd file"))?,
        ),
    };
    let uid = found.map_or_else(|| user.parse().unwrap_or(0), |a| a.uid);
    let gid = match (wishes.group, image_group.filter(|_| wishes.user.is_none())) {
        (Some(gid), _) => gid,
        (None, Some(name)) => group_id(group, name)?,
        (None, None) => found.map_or(0, |a| a.gid),
    };
    let listed = found.filter(|_| !wishes.groups_of_pod_only);
    let mut groups = listed.map(|a| memberships(group, a.name)).unwrap_or_default();
    groups.extend(&wishes.extra_groups);
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = found.map(|a| a.home).filter(|h| !h.is_empty()).unwrap_or("/").to_owned();
    Ok(Identity { uid, gid, groups, home })
}

fn account(line: &str) -> Option<Account<'_>> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
    Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
}

fn group_id(group: &str, name: &str) -> Result<u32, String> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let mut lines = group.lines().map(|l| l.split(':').collect::<Vec<_>>());
    let found = lines.find(|f| f.first() == Some(&name)).and_then(|f| f.get(2)?.parse().ok());
    found.ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
}

fn memberships(group: &str, user: &str) -> Vec<u32> {
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.get(3)?.split(',').any(|m| m.trim() == user).then(|| fields[2].parse().ok())?
    };
    group.lines().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,other\nstaff:x:50:\n";

    fn show(image_user: &str, wishes: &Privileges) -> String {
        match identify(PASSWD, GROUP, image_user, wishes) {
            Ok(i) => format!("{}:{} {:?} {}", i.uid, i.gid, i.groups, i.home),
            Err(words) => words,
        }
    }

    #[test]
    fn the_image_names_the_user_and_the_pod_may_override() {
        let none = Privileges::default();
        let wish = |user, group| Privileges { user, group, extra_groups: vec![2000], ..Privileges::default() };
        let cases = [
            ("", none.clone(), "0:0 [0] /root"),
            ("web", none.clone(), "33:44 [4, 44] /srv"),
            ("33", none.clone(), "33:44 [4, 44] /srv"),
            ("web:staff", none.clone(), "33:50 [4, 50] /srv"),
            ("1000:7", none.clone(), "1000:7 [7] /"),
            ("1000", none.clone(), "1000:0 [0] /"),
            ("nobody", none.clone(), "unable to find user nobody: no matching entries in passwd file"),
            ("web:wheel", none, "unable to find group wheel: no matching entries in group file"),
            ("web:staff", wish(Some(1000), None), "1000:0 [0, 2000] /"),
            ("web:staff", wish(Some(33), None), "33:44 [4, 44, 2000] /srv"),
            ("web", wish(Some(1000), Some(3000)), "1000:3000 [2000, 3000] /"),
            ("web", wish(None, Some(3000)), "33:3000 [4, 2000, 3000] /srv"),
            ("web", Privileges { groups_of_pod_only: true, ..wish(None, None) }, "33:44 [44, 2000] /srv"),
        ];
        for (image_user, wishes, expected) in cases {
            assert_eq!(show(image_user, &wishes), expected, "{image_user:?} {wishes:?}");
        }
    }
}
