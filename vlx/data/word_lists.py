"""What common words of captions are, for want of WordNet and beside it: short lists, lemmas in lower case."""

COLORS = frozenset(
    """beige black blond blonde blue bronze brown brunette copper crimson cyan gold golden gray green grey khaki
    lavender magenta maroon navy orange pink purple red silver tan teal turquoise violet white yellow""".split()
)
MATERIALS = frozenset(
    """aluminum asphalt bamboo brick brass cardboard cement ceramic chrome clay cloth concrete cotton denim fabric felt
    foam fur glass granite gravel iron leather linen marble metal metallic nylon paper plaster plastic porcelain rubber
    satin silk stainless steel stone straw suede tile tiled velvet vinyl wicker wood wooden wool woolen""".split()
)
TEXTURES = frozenset(
    """camouflage checked checkered dotted floral flowered furry patterned plaid polka spotted striped stripy tattooed
    tie-dyed woven""".split()
)
SCENES = frozenset(
    """airport aisle alley arena backyard bar basement bathroom bay beach bedroom bridge cafe campsite canyon cave
    church city cliff coast concert countryside court courtyard creek crosswalk desert dock downtown driveway farm field
    forest garage garden gym hall harbor highway hill hillside intersection island jungle kitchen lake lawn library
    market meadow mountain museum night ocean office park path pasture pier playground plaza pond pool porch prairie
    rink river road room school sea shore sidewalk ski-slope slope snow square stadium stage station store stream street
    studio subway sunset swamp tent town track trail tunnel underwater valley village waterfall woods yard
    zoo""".split()
)
ACTIONS = frozenset(
    """aim argue attack balance bark bathe bend bite blow bounce build burn buy carry
    catch celebrate chase cheer chew clap clean climb cook crawl cross cry cut dance dig dive drag drink drive eat
    embrace examine exercise fall feed fight fish fix flip float fly fold follow gather gaze grab graze hang hike
    hit hold hop hug hunt inspect jog jump kick kiss kneel laugh lay lead lean leap lick lie lift listen look
    march mow open paddle paint pass pay pedal perform pick play point pose pour practice pray preach
    pull punch push race raft read reach rest ride roll row run sail scream serve sew shake shop shoot shout
    sing sit skate skateboard ski skip slap sled sleep slide smell smile smoke sniff snowboard speak spin splash spray
    squat stand stare steer step stretch stroll surf swim swing talk taste tackle throw tie touch toss trot tug type
    wade wait wakeboard walk wash watch wave wear weld wrestle write yawn yell""".split()
)
# Words that are used of everything, and what is neither thing nor action.
NO_NAMES = frozenset(
    """air angle apart area attempt away back backward background be become body bottom bunch camera center close-up
    closeup come contain corner couple cover day direction do down edge eight end face foreground form forward four
    front get give go group half have inside kind keep left let lot make middle multi nearby number one outdoors outside
    overhead pair part photo photograph piece picture place portion position prepare red-haired right row scene set
    seven shot show side sideways six sort spot start stop surround take ten thing three together top towards try two
    type upside use variety view way while""".split()
)
ADJECTIVES = frozenset(
    """asian bald bare big bright busy casual clear cold colorful crowded curly cute dark different dirty dressed dry
    elderly empty fancy fluffy full happy hairy heavy high hooded huge large light little long low male female messy
    covered grassy leafy middle-aged muddy new nice old older open other outdoor pretty professional public rocky sandy
    shaggy shallow shiny shirtless short similar skinny small snowy steep sunny tall thick thin tiny various wet wide
    wild young younger""".split()
)
# Spellings and forms of one thing.
SAME = {
    "blonde": "blond",
    "checked": "checkered",
    "flowered": "floral",
    "golden": "gold",
    "gray": "grey",
    "metallic": "metal",
    "stripy": "striped",
    "tiled": "tile",
    "wooden": "wood",
    "woolen": "wool",
}
# Things in -ing are no forms of verbs (`vlx.language.THINGS_IN_ING`), but for these.
DOINGS = frozenset("boxing crossing shopping swimming training".split())
IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "people",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "leaves": "leaf",
    "knives": "knife",
    "wolves": "wolf",
    "shelves": "shelf",
    "scarves": "scarf",
    "calves": "calf",
    "horses": "horse",
    "houses": "house",
    "buses": "bus",
    "glasses": "glasses",
    "sunglasses": "sunglasses",
    "clothes": "clothes",
    "jeans": "jeans",
    "shorts": "shorts",
    "pants": "pants",
    "goggles": "goggles",
    "woods": "woods",
    "stairs": "stairs",
    "ran": "run",
    "swam": "swim",
    "lying": "lie",
    "tying": "tie",
    "stood": "stand",
    "sat": "sit",
    "held": "hold",
    "worn": "wear",
}

# Wider names: what a unit of dogs and horses has in common. By WordNet's synset where it is there.
KINDS: dict[str, tuple[str, frozenset[str]]] = {
    "animal": (
        "animal.n.01",
        frozenset(
            """animal bear bird bull butterfly camel cat calf cow deer dog duck elephant fish giraffe goat goose
            greyhound horse kitten lamb lion monkey parrot pig poodle pony puppy rabbit retriever seagull sheep shepherd
            squirrel terrier tiger turtle whale wolf zebra""".split()
        ),
    ),
    "person": (
        "person.n.01",
        frozenset(
            """adult artist athlete baby bicyclist biker boxer boy bride child climber crowd cyclist dancer fan
            fisherman friend gentleman girl groom guitarist guy hiker human infant jockey kid lady man musician officer
            participant pedestrian people performer person player rider runner singer skateboarder skater skier
            snowboarder soldier spectator surfer swimmer teenager toddler woman worker""".split()
        ),
    ),
    "vehicle": (
        "vehicle.n.01",
        frozenset(
            """airplane balloon bicycle bike boat bus canoe car cart jeep kayak moped motorbike motorcycle plane
            raft rocket sailboat scooter ship sled stroller taxi tractor train truck van vehicle wagon
            yacht""".split()
        ),
    ),
    "clothing": (
        "clothing.n.01",
        frozenset(
            """apron bikini blouse boot cap cape clothes clothing coat costume dress glove gown hat helmet hoodie jacket
            jean jeans jersey mask outfit pants robe sandal scarf shirt shoe shorts skirt sock suit sweater sweatshirt
            swimsuit t-shirt tie trunk tuxedo uniform vest wetsuit""".split()
        ),
    ),
    "food": (
        "food.n.01",
        frozenset(
            """apple banana bread burger cake candy carrot cheese cookie cream donut egg food fruit hotdog meal
            meat pasta pie pizza popcorn rice salad sandwich sausage soup steak strawberry tomato
            vegetable""".split()
        ),
    ),
    "plant": (
        "plant.n.02",
        frozenset("bush cactus flower fern grass hedge ivy moss mushroom palm plant rose tree tulip".split()),
    ),
    "building": (
        "building.n.01",
        frozenset(
            """barn building cabin cathedral church cottage garage house hotel hut lighthouse mosque restaurant school
            shack shed skyscraper stadium temple tower""".split()
        ),
    ),
    "furniture": (
        "furniture.n.01",
        frozenset("armchair bed bench bookcase chair couch crib cupboard desk dresser shelf sofa stool table".split()),
    ),
}
# Categories of nouns by WordNet, beside the lists above.
SYNSETS = {
    "scene": ("geological_formation.n.01", "body_of_water.n.01", "room.n.01", "tract.n.01", "road.n.01"),
    "material": ("metallic_element.n.01",),  # fabric takes in a bandanna, building material a puddle
    "color": ("chromatic_color.n.01", "achromatic_color.n.01"),
}
